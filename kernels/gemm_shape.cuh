// The shape of a masked GEMM kernel: its roles, its tile, and what lies where in shared memory.
//
// `S` is a Shape that the build writes: block_m, block_n, pipeline stages, CTAs in a cluster, and how
// many copies of a tile wait to be stored. The host computes the same sizes (device/gemm_shape.py);
// the build asserts that both agree.
#pragma once

#include "gemm_parameters.cuh"
#include "signal.cuh"

namespace sbo {
namespace gemm {

// Warps 0 to 7 multiply, warp 8 loads, warps 9 to 11 store and signal: the storing threads are the
// group that hands over. They wait for stores and memory barriers while the others go on with the
// next tile, so that a signal costs the multiplication nothing.
constexpr unsigned kWarp = 32;
constexpr unsigned kMathThreads = 256;
constexpr unsigned kLoadThreads = kWarp;
constexpr unsigned kStoreThreads = 3 * kWarp;
constexpr unsigned kThreads = kMathThreads + kLoadThreads + kStoreThreads;
constexpr unsigned kMathWarps = kMathThreads / kWarp;

// 65,536 registers of an SM: 256 x 232 and 128 x 40. setmaxnreg wants multiples of 8.
constexpr int kMathRegisters = 232;
constexpr int kOtherRegisters = 40;

// Named barriers; 0 is __syncthreads().
constexpr unsigned kFreeBarrier = 1;    // the tile's shared memory may be written
constexpr unsigned kSourceBarrier = 2;  // the tile is in shared memory
constexpr unsigned kStoreBarrier = 3;   // the storing threads' own

constexpr unsigned kBlockK = 128;  // bytes of a swizzled row, and elements under one scale
constexpr unsigned kGroupM = 64;   // rows of one wgmma
constexpr unsigned kStepK = 32;    // of one wgmma
constexpr unsigned kScaleN = 128;  // columns of D under one scale of B
constexpr unsigned kScaleRows = 3;  // scales of B that a tile of up to 256 columns may touch
constexpr unsigned kAtomBytes = 1024;  // after which the 128-byte swizzle repeats

constexpr unsigned ceil_div(unsigned a, unsigned b) { return (a + b - 1) / b; }

constexpr unsigned lowest_bit(unsigned value) { return value & -value; }

template <class S>
struct Tiles {
  // The two warpgroups share a tile of 128 rows by rows, one of 64 rows by columns.
  static constexpr bool by_rows = S::block_m == 2 * kGroupM;
  static constexpr unsigned warpgroup_n = by_rows ? S::block_n : S::block_n / 2;
  // Accumulators of one product and of the sum live in registers at once, so that wide tiles are
  // multiplied in two pieces.
  static constexpr unsigned pieces = warpgroup_n > 128 ? 2 : 1;
  static constexpr unsigned piece_n = warpgroup_n / pieces;
  // A warpgroup's columns begin at a multiple of this behind those of a scale of B. Where no piece
  // can reach over a scale's end, where they begin is the same to all.
  static constexpr unsigned begin_step =
      kScaleN % piece_n == 0 ? kScaleN : lowest_bit(by_rows ? S::block_n : S::block_n / 2);
  static_assert(by_rows || S::block_m == kGroupM);
  static_assert(S::block_n % 32 == 0 && S::block_n <= 256 && piece_n % 16 == 0);
};

// A tile waits for its store in slabs of columns, each as the tensor copy with its swizzle wants it;
// for copies that know no swizzle, in padded rows.
template <class S, class V>
struct Staging {
  static constexpr bool tensor = V::store == Store::tensor;
  static constexpr unsigned slab_n = tensor ? (S::block_n % 64 == 0 ? 64 : 32) : S::block_n;
  static constexpr unsigned slabs = S::block_n / slab_n;
  static constexpr unsigned row_bytes = tensor ? 2 * slab_n : 2 * slab_n + 16;
  static constexpr unsigned slab_bytes = S::block_m * row_bytes;
  static constexpr unsigned copies = stage_count<V>();
  static constexpr unsigned bytes =
      ceil_div(slabs * slab_bytes, kAtomBytes) * kAtomBytes;  // of one copy

  // Byte offset of 8 columns (`chunk`) of a row.
  static __device__ __forceinline__ unsigned offset(unsigned row, unsigned chunk) {
    constexpr unsigned per_slab = slab_n / 8;
    const unsigned in_slab = chunk % per_slab;
    const unsigned swizzled = !tensor           ? in_slab
                              : slab_n == 64 ? in_slab ^ (row % 8)
                                             : in_slab ^ (row / 2 % 4);
    return chunk / per_slab * slab_bytes + row * row_bytes + swizzled * 16;
  }
};

template <class S, class V>
struct Layout {
  static constexpr unsigned a_bytes = S::block_m * kBlockK;
  static constexpr unsigned b_bytes = S::block_n * kBlockK;
  static constexpr unsigned a_scale_bytes = S::block_m * 4;
  static constexpr unsigned stage_bytes = a_bytes + b_bytes + a_scale_bytes;
  static constexpr unsigned d = 0;
  static constexpr unsigned a = d + Staging<S, V>::copies * Staging<S, V>::bytes;
  static constexpr unsigned b = a + S::stages * a_bytes;
  static constexpr unsigned a_scales = b + S::stages * b_bytes;
  static constexpr unsigned full = a_scales + S::stages * a_scale_bytes;
  static constexpr unsigned empty = full + 8 * S::stages;
  // Two tiles' scales of B: the next tile's are fetched ahead. Their size depends on K.
  static constexpr unsigned b_scales = empty + 8 * S::stages;
};

// The dynamic shared memory of a CTA, 1024-byte aligned as the swizzle wants it.
template <class S, class V>
struct Memory {
  using At = Layout<S, V>;
  unsigned char* base;
  unsigned k_blocks;

  __device__ __forceinline__ unsigned char* d(unsigned copy) const {
    return base + At::d + copy * Staging<S, V>::bytes;
  }
  __device__ __forceinline__ unsigned char* a(unsigned stage) const {
    return base + At::a + stage * At::a_bytes;
  }
  __device__ __forceinline__ unsigned char* b(unsigned stage) const {
    return base + At::b + stage * At::b_bytes;
  }
  __device__ __forceinline__ float* a_scales(unsigned stage) const {
    return reinterpret_cast<float*>(base + At::a_scales + stage * At::a_scale_bytes);
  }
  __device__ __forceinline__ unsigned long long* full(unsigned stage) const {
    return reinterpret_cast<unsigned long long*>(base + At::full) + stage;
  }
  __device__ __forceinline__ unsigned long long* empty(unsigned stage) const {
    return reinterpret_cast<unsigned long long*>(base + At::empty) + stage;
  }
  __device__ __forceinline__ float* b_scales(unsigned turn) const {
    return reinterpret_cast<float*>(base + At::b_scales) + (turn % 2) * kScaleRows * k_blocks;
  }
};

// A place in the ring of stages; `parity` is that of the phase in which a stage is filled.
template <class S>
struct Ring {
  unsigned stage = 0;
  unsigned parity = 0;

  __device__ __forceinline__ void advance() {
    stage = stage == S::stages - 1 ? 0 : stage + 1;
    parity ^= stage == 0;
  }
};

}  // namespace gemm
}  // namespace sbo
