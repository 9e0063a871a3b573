// The storing threads: they store tiles and hand them over, by the policies of signal.cuh.
//
// One turn of their loop is one turn of the micro-kernel's producer, with the multiplying threads in
// the place of the code that fills the source: what a site means is the same text.
#pragma once

#include "gemm_schedule.cuh"
#include "tma.cuh"

namespace sbo {
namespace gemm {

// The scales of B under `tile`, all of K, kScaleRows of them at each k; behind the last column the
// last scale again, which multiplies zeros.
template <class S, class V>
__device__ __forceinline__ void fetch_b_scales(const GemmParameters& p, const Memory<S, V>& memory,
                                               const Tile& tile, unsigned turn,
                                               const Group& group) {
  SBO_BEGIN("harness.scales");
  float* const destination = memory.b_scales(turn);
  const unsigned rows = ceil_div(p.n, kScaleN);
  const float* const source = p.b_scales + tile.group * rows * p.k_blocks;
  const unsigned first = tile.n_block * S::block_n / kScaleN;
  for (unsigned k = group.rank; k < p.k_blocks; k += group.size) {
    // All at once: where a kernel begins, the copies' traffic makes every load slow.
    float scales[kScaleRows];
#pragma unroll
    for (unsigned row = 0; row < kScaleRows; ++row) {
      scales[row] = __ldg(source + min(first + row, rows - 1) * p.k_blocks + k);
    }
#pragma unroll
    for (unsigned row = 0; row < kScaleRows; ++row) destination[row * p.k_blocks + k] = scales[row];
  }
  SBO_END("harness.scales");
}

// The rows that count, and no other: boxes of 2^i rows, of which the largest is the usual one.
template <class S, class V>
__device__ __forceinline__ void store_slab(const GemmParameters& p, const Tile& tile,
                                           const unsigned char* d, unsigned slab) {
  using D = Staging<S, V>;
  const int n = static_cast<int>(tile.n_block * S::block_n + slab * D::slab_n);
  const unsigned m = tile.m_block * S::block_m;
  unsigned row = 0;
  while (row < tile.rows) {
    const unsigned bit = 31 - __clz(tile.rows - row);
    ptx::cp_async_bulk_tensor_3d_store(&p.d_maps[bit], n, static_cast<int>(m + row),
                                       static_cast<int>(tile.group),
                                       d + slab * D::slab_bytes + row * D::row_bytes);
    row += 1U << bit;
  }
}

// As signal_publish.cuh's store_tile: the issuers share the tile, each owns its bulk groups.
template <class S, class V>
__device__ __forceinline__ void store_tile(const GemmParameters& p, const Tile& tile,
                                           const unsigned char* d, const Group& group) {
  using D = Staging<S, V>;
  const unsigned columns = min(p.n - tile.n_block * S::block_n, S::block_n);
  const unsigned long long first =
      (static_cast<unsigned long long>(tile.group) * p.m + tile.m_block * S::block_m) * p.d_pitch +
      tile.n_block * S::block_n * 2ULL;
  if constexpr (V::store == Store::generic) {
    const unsigned chunks = columns / 8;
    for (unsigned i = group.rank; i < tile.rows * chunks; i += group.size) {
      const unsigned row = i / chunks, chunk = i % chunks;
      const uint4 v =
          ptx::ld_weak_shared_v4(reinterpret_cast<const uint4*>(d + D::offset(row, chunk)));
      SBO_BEGIN("producer.store");
      ptx::st_weak_v4(reinterpret_cast<uint4*>(p.d + first + row * p.d_pitch) + chunk, v);
      SBO_END("producer.store");
    }
  } else if (is_issuer<V>(group)) {
    const unsigned issuer = group.rank / kIssuerStride;
    SBO_BEGIN("producer.store");
    if constexpr (V::store == Store::tensor) {
      for (unsigned slab = issuer; slab < D::slabs; slab += issuer_count<V>()) {
        if (slab * D::slab_n < columns) store_slab<S, V>(p, tile, d, slab);
      }
    } else {
      for (unsigned row = issuer; row < tile.rows; row += issuer_count<V>()) {
        ptx::cp_async_bulk_store(p.d + first + row * p.d_pitch, d + row * D::row_bytes, columns * 2);
      }
    }
    ptx::cp_async_bulk_commit_group();
    SBO_END("producer.store");
  }
}

// A fence for every tile: one for the adds of several was no faster (reports/README.md).
template <class S, class V>
__device__ __forceinline__ void publish_tile(const GemmParameters& p, const Tile& tile,
                                             const Group& group) {
  if constexpr (V::publish != Publish::none) {
    if (is_publisher<V>(group) && !tile.ghost) {
      int* const signal = p.signals + tile.group * ceil_div(p.m, S::block_m) + tile.m_block;
      publish<V>(signal, 1, static_cast<int>(ceil_div(p.n, S::block_n)));
    }
  }
}

template <class S, class V>
__device__ __forceinline__ void store_tiles(const GemmParameters& p, const Memory<S, V>& memory,
                                            const Group& free, const Group& source) {
  constexpr bool deferred = V::moment == Moment::deferred;
  constexpr bool deferred_behind_store = deferred && newest_pending<V>();
  constexpr unsigned copies = Staging<S, V>::copies;
  const Group group{threadIdx.x - kMathThreads - kLoadThreads, kStoreThreads, kStoreBarrier};
  Schedule<S> schedule(p);
  Tile tile, next, previous;
  bool more = schedule.next(next);
  if (more) fetch_b_scales(p, memory, next, 0, group);
  SBO_BEGIN("harness.free");
  free.sync();
  SBO_END("harness.free");
  unsigned turn = 0;
#pragma unroll 1
  for (; more; ++turn) {
    tile = next;
    if constexpr (deferred && !deferred_behind_store) {
      if (turn > 0) {
        drain<V>(group);
        join<V>(group);
        publish_tile<S, V>(p, previous, group);
      }
    }
    more = schedule.next(next);
    if (more) fetch_b_scales(p, memory, next, turn + 1, group);
    if constexpr (V::store != Store::generic) {
      SBO_BEGIN("harness.reuse");
      if (is_issuer<V>(group)) ptx::cp_async_bulk_wait_group_read<copies - 1>();
      SBO_END("harness.reuse");
    }
    SBO_BEGIN("harness.free");
    free.sync();
    SBO_END("harness.free");
    source_join(source);
    if constexpr (V::moment == Moment::early) publish_tile<S, V>(p, tile, group);
    if (!tile.ghost) store_tile<S, V>(p, tile, memory.d(turn % copies), group);
    if constexpr (!deferred || deferred_behind_store) {
      drain<V>(group);
      join<V>(group);
    }
    if constexpr (V::moment == Moment::after_tile) publish_tile<S, V>(p, tile, group);
    if constexpr (deferred_behind_store) {
      if (turn > 0) publish_tile<S, V>(p, previous, group);
    }
    previous = tile;
  }
  if constexpr (deferred) {
    if (turn > 0) {
      flush<V>(group);
      join<V>(group);
      publish_tile<S, V>(p, previous, group);
    }
  }
  if constexpr (V::store != Store::generic) {
    // Shared memory must outlive the copy engine's reading of it.
    SBO_BEGIN("harness.reuse");
    if (is_issuer<V>(group)) ptx::cp_async_bulk_wait_group_read<0>();
    SBO_END("harness.reuse");
  }
}

}  // namespace gemm
}  // namespace sbo
