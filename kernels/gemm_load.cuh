// The loading thread: A, B and A's scales of one tile after the other through the ring of stages.
#pragma once

#include "gemm_schedule.cuh"
#include "tma.cuh"

namespace sbo {
namespace gemm {

// Standard pipeline spins, here and in gemm_math.cuh: each waits for a copy or a release of the same
// launch that nothing outside it can withhold. What could is refused by the host beforehand.
__device__ __forceinline__ void wait(unsigned long long* mbarrier, unsigned parity) {
  while (!ptx::mbarrier_try_wait_acquire(mbarrier, parity)) {
  }
}

// A matrix tile of `Rows` rows at (k, row, group): whole, or by halves where the cluster's CTAs share
// it, each bringing its half to both. Boxes have half the rows in a cluster of two.
template <class S, unsigned Rows>
__device__ __forceinline__ void load_rows(unsigned char* destination, const TensorMap* map, int k,
                                          int row, int group, unsigned long long* mbarrier,
                                          bool shared, unsigned rank) {
  if constexpr (S::cluster == 1) {
    ptx::cp_async_bulk_tensor_3d_load(destination, map, k, row, group, mbarrier);
  } else {
    constexpr int half = Rows / 2;
    constexpr unsigned half_bytes = half * kBlockK;
    if (shared) {
      ptx::cp_async_bulk_tensor_3d_load_multicast(destination + rank * half_bytes, map, k,
                                                  row + static_cast<int>(rank) * half, group,
                                                  mbarrier, 3);
    } else {
      ptx::cp_async_bulk_tensor_3d_load(destination, map, k, row, group, mbarrier);
      ptx::cp_async_bulk_tensor_3d_load(destination + half_bytes, map, k, row + half, group,
                                        mbarrier);
    }
  }
}

template <class S, class V>
__device__ __forceinline__ void load_tiles(const GemmParameters& p, const Memory<S, V>& memory) {
  using At = Layout<S, V>;
  Schedule<S> schedule(p);
  Ring<S> ring;
  Tile tile;
  unsigned rank = 0;
  if constexpr (S::cluster > 1) rank = ptx::cluster_ctarank();
  while (schedule.next(tile)) {
    const int m = static_cast<int>(tile.m_block * S::block_m);
    const int n = static_cast<int>(tile.n_block * S::block_n);
    const int group = static_cast<int>(tile.group);
    SBO_BEGIN("harness.load");
#pragma unroll 1
    for (unsigned block = 0; block < p.k_blocks; ++block) {
      const int k = static_cast<int>(block * kBlockK);
      unsigned long long* const full = memory.full(ring.stage);
      wait(memory.empty(ring.stage), ring.parity ^ 1);
      ptx::mbarrier_arrive_expect_tx(full, At::stage_bytes);
      load_rows<S, S::block_n>(memory.b(ring.stage), &p.b_map, k, n, group, full, tile.shares_b,
                               rank);
      load_rows<S, S::block_m>(memory.a(ring.stage), &p.a_map, k, m, group, full, !tile.shares_b,
                               rank);
      ptx::cp_async_bulk_tensor_3d_load(memory.a_scales(ring.stage), &p.a_scale_map, m,
                                        static_cast<int>(block), group, full);
      ring.advance();
    }
    SBO_END("harness.load");
  }
}

}  // namespace gemm
}  // namespace sbo
