// The multiplying warpgroups: products by wgmma, sums in FP32 with the scales of every 128 of K, and
// the tile, rounded to bfloat16, in shared memory.
#pragma once

#include "gemm_load.cuh"
#include "wgmma.cuh"

namespace sbo {
namespace gemm {

// Source: PTX ISA, "Matrix Descriptor": K-major with 128-byte swizzle, 8 rows every 1024 bytes.
__device__ __forceinline__ unsigned long long descriptor(const unsigned char* matrix) {
  constexpr unsigned long long swizzle_128 = 1ULL << 62;
  constexpr unsigned long long stride = static_cast<unsigned long long>(kAtomBytes / 16) << 32;
  return swizzle_128 | stride | (1ULL << 16) | (ptx::shared_address(matrix) >> 4);
}

template <unsigned Value>
struct Constant {
  static constexpr unsigned value = Value;
};

// Calls `body` with Constant<0>, Constant<1>, ... Constant<Count - 1>.
template <unsigned Count, class Body>
__device__ __forceinline__ void for_each(const Body& body) {
  if constexpr (Count > 1) for_each<Count - 1>(body);
  body(Constant<Count - 1>{});
}

// The sums of one thread: d[i] of a piece stands as wgmma leaves it, rows `row` and `row + 8`.
template <class S>
struct Sums {
  using T = Tiles<S>;
  float piece[T::pieces][T::piece_n / 2];
};

struct Position {
  unsigned warpgroup;
  unsigned warp;  // of the warpgroup
  unsigned lane;
};

// Adds a product to the sum, under the scales of its rows (`a`) and of its columns: a piece that begins
// `Begin` columns behind a scale's first may pass on to the next scale. Where it does is known when
// the kernel is compiled: choosing at run time cost a tenth of the kernel's time.
template <unsigned Begin, unsigned Registers>
__device__ __forceinline__ void promote(float (&sum)[Registers], const float (&product)[Registers],
                                        float2 a, float b_first, float b_second) {
  const float u_first = a.x * b_first, v_first = a.y * b_first;
  const float u_second = a.x * b_second, v_second = a.y * b_second;
#pragma unroll
  for (unsigned i = 0; i < Registers; i += 4) {
    const bool first = Begin + i * 2 < kScaleN;
    const float u = first ? u_first : u_second;
    const float v = first ? v_first : v_second;
    sum[i] += u * product[i];
    sum[i + 1] += u * product[i + 1];
    sum[i + 2] += v * product[i + 2];
    sum[i + 3] += v * product[i + 3];
  }
}

// The stage may be filled again: said to every CTA that fills it.
template <class S, class V>
__device__ __forceinline__ void release_stage(const Memory<S, V>& memory, unsigned stage,
                                              unsigned lane) {
  if constexpr (S::cluster == 1) {
    if (lane == 0) ptx::mbarrier_arrive(memory.empty(stage));
  } else {
    if (lane < S::cluster) ptx::mbarrier_arrive_remote(ptx::mapa(memory.empty(stage), lane));
  }
}

// The warpgroups are left to themselves: that each adds its products up while the other's run comes
// about without barriers that make them take turns, which changed nothing on an H200.
//
// `Begin`: where this warpgroup's first column stands between two scales of B.
template <unsigned Begin, class S, class V>
__device__ __forceinline__ void multiply_tile(const GemmParameters& p, const Memory<S, V>& memory,
                                              const float* b_scales, const Position& at,
                                              Ring<S>& ring, Sums<S>& sums) {
  using T = Tiles<S>;
  const unsigned first_row = T::by_rows ? at.warpgroup * kGroupM : 0;
  const unsigned first_column = T::by_rows ? 0 : at.warpgroup * T::warpgroup_n;
  const unsigned scale_row = first_row + at.warp * 16 + at.lane / 4;
#pragma unroll
  for (unsigned c = 0; c < T::pieces; ++c) {
#pragma unroll
    for (unsigned i = 0; i < T::piece_n / 2; ++i) sums.piece[c][i] = 0.0F;
  }
#pragma unroll 1
  for (unsigned block = 0; block < p.k_blocks; ++block) {
    wait(memory.full(ring.stage), ring.parity);
    // Descriptors count in 16 bytes.
    const unsigned long long a = descriptor(memory.a(ring.stage)) + first_row * (kBlockK / 16);
    const unsigned long long b = descriptor(memory.b(ring.stage)) + first_column * (kBlockK / 16);
    const float* const a_scales = memory.a_scales(ring.stage) + scale_row;
    const float2 scale = make_float2(a_scales[0], a_scales[8]);
    float product[T::piece_n / 2];
    for_each<T::pieces>([&](auto piece) {
      constexpr unsigned c = decltype(piece)::value;
      constexpr unsigned begin = Begin + c * T::piece_n;
      const float* const b_scale = b_scales + begin / kScaleN * p.k_blocks + block;
      const float b_first = b_scale[0];
      const float b_second = begin % kScaleN + T::piece_n > kScaleN ? b_scale[p.k_blocks] : 0.0F;
      ptx::wgmma_fence();
#pragma unroll
      for (unsigned i = 0; i < kBlockK / kStepK; ++i) {
        ptx::wgmma_e4m3(product, a + i * kStepK / 16,
                        b + (c * T::piece_n * kBlockK + i * kStepK) / 16, i);
      }
      ptx::wgmma_commit_group();
      ptx::wgmma_wait_group<0>();
      if (c == T::pieces - 1) release_stage(memory, ring.stage, at.lane);
      promote<begin % kScaleN>(sums.piece[c], product, scale, b_first, b_second);
    });
    ring.advance();
  }
}

// Finds `Begin` among the values that it can have.
template <unsigned Begin, class S, class V>
__device__ __forceinline__ void multiply_tile_from(unsigned begin, const GemmParameters& p,
                                                   const Memory<S, V>& memory,
                                                   const float* b_scales, const Position& at,
                                                   Ring<S>& ring, Sums<S>& sums) {
  if constexpr (Begin + Tiles<S>::begin_step < kScaleN) {
    if (begin != Begin) {
      multiply_tile_from<Begin + Tiles<S>::begin_step>(begin, p, memory, b_scales, at, ring, sums);
      return;
    }
  }
  multiply_tile<Begin>(p, memory, b_scales, at, ring, sums);
}

// A warpgroup of whose rows none is stored lets the stages pass.
template <class S, class V>
__device__ __forceinline__ void pass_tile(const GemmParameters& p, const Memory<S, V>& memory,
                                          const Position& at, Ring<S>& ring) {
  SBO_BEGIN("harness.multiply");
#pragma unroll 1
  for (unsigned block = 0; block < p.k_blocks; ++block) {
    wait(memory.full(ring.stage), ring.parity);
    release_stage(memory, ring.stage, at.lane);
    ring.advance();
  }
  SBO_END("harness.multiply");
}

// The tile in bfloat16 to shared memory, four 8 x 8 matrices at a time.
template <class S, class V>
__device__ __forceinline__ void stage_tile(unsigned char* d, const Position& at,
                                           const Sums<S>& sums) {
  using T = Tiles<S>;
  const unsigned row = (T::by_rows ? at.warpgroup * kGroupM : 0) + at.warp * 16 + at.lane % 16;
  const unsigned first_column = T::by_rows ? 0 : at.warpgroup * T::warpgroup_n;
  const unsigned base = ptx::shared_address(d);
  SBO_BEGIN("harness.fill");
#pragma unroll
  for (unsigned c = 0; c < T::pieces; ++c) {
#pragma unroll
    for (unsigned i = 0; i < T::piece_n / 2; i += 8) {
      const float* const v = sums.piece[c] + i;
      const unsigned fragment[4] = {
          ptx::cvt_bf16x2(v[0], v[1]), ptx::cvt_bf16x2(v[2], v[3]),
          ptx::cvt_bf16x2(v[4], v[5]), ptx::cvt_bf16x2(v[6], v[7])};
      const unsigned chunk = (first_column + c * T::piece_n) / 8 + i / 4 + at.lane / 16;
      ptx::stmatrix_x4(base + Staging<S, V>::offset(row, chunk), fragment);
    }
  }
  SBO_END("harness.fill");
}

template <class S, class V>
__device__ __forceinline__ void multiply_tiles(const GemmParameters& p, const Memory<S, V>& memory,
                                               const Group& free, const Group& source) {
  // The same in every lane, and the compiler may know it.
  const unsigned warp = __shfl_sync(0xffffffffU, threadIdx.x / kWarp, 0);
  const Position at{warp / 4, warp % 4, threadIdx.x % kWarp};
  Schedule<S> schedule(p);
  Ring<S> ring;
  Tile tile;
  Sums<S> sums;
  SBO_BEGIN("harness.free");
  free.sync();  // the first tile's scales of B are there
  SBO_END("harness.free");
#pragma unroll 1
  for (unsigned turn = 0; schedule.next(tile); ++turn) {
    if (Tiles<S>::by_rows && at.warpgroup * kGroupM >= tile.rows) {
      pass_tile(p, memory, at, ring);
    } else {
      // The tile's scales begin with its first column's, this warpgroup's with its own.
      const unsigned first = tile.n_block * S::block_n % kScaleN;
      const unsigned column = Tiles<S>::by_rows ? first : first + at.warpgroup * Tiles<S>::warpgroup_n;
      const float* const b_scales = memory.b_scales(turn) + column / kScaleN * p.k_blocks;
      SBO_BEGIN("harness.multiply");
      multiply_tile_from<0>(column % kScaleN, p, memory, b_scales, at, ring, sums);
      SBO_END("harness.multiply");
    }
    SBO_BEGIN("harness.free");
    free.sync();  // the last tile has been read, the next one's scales of B are there
    SBO_END("harness.free");
    stage_tile<S, V>(memory.d(turn % Staging<S, V>::copies), at, sums);
    SBO_BEGIN("math.source_fence");
    order_source<V>();
    SBO_END("math.source_fence");
    SBO_BEGIN("math.source_join");
    source.sync();
    SBO_END("math.source_join");
  }
}

}  // namespace gemm
}  // namespace sbo
