// D[g] = A[g] x B[g]^T for the first masked_m[g] rows of every group g, with a signal for every tile.
//
// A: e4m3 [G, M, K], a float scale for each row and 128 of K. B: e4m3 [G, N, K], a float scale for
// each 128 x 128. D: bfloat16 [G, M, N]; rows from masked_m[g] on are not touched. Each finished tile
// adds 1 to signals[g * ceil(M / block_m) + m_block], handed over as the variant `V` says; at
// ceil(N / block_n) all columns of these rows are in memory.
#pragma once

#include "gemm_load.cuh"
#include "gemm_math.cuh"
#include "gemm_store.cuh"

namespace sbo {

template <class S, class V>
__device__ __forceinline__ void masked_gemm(const GemmParameters& p) {
  using namespace gemm;
  static_assert(!clustered<V>(), "a cluster barrier waits for every thread, the loading one too");
  extern __shared__ __align__(1024) unsigned char dynamic_memory[];
  const Memory<S, V> memory{dynamic_memory, p.k_blocks};
  const unsigned warp = __shfl_sync(0xffffffffU, threadIdx.x / kWarp, 0);

  SBO_BEGIN("harness.setup");
  // Every role's first step is to read the masks.
  if (threadIdx.x == 0) ptx::prefetch_global_l2(p.masked_m);
  if (threadIdx.x == kMathThreads) {
    ptx::prefetch_tensormap(&p.b_map);
    ptx::prefetch_tensormap(&p.a_map);
    ptx::prefetch_tensormap(&p.a_scale_map);
    for (unsigned stage = 0; stage < S::stages; ++stage) {
      ptx::mbarrier_init(memory.full(stage), 1);
      ptx::mbarrier_init(memory.empty(stage), kMathWarps * S::cluster);
    }
    ptx::fence_proxy_async_shared_cta();
  }
  __syncwarp();
  if constexpr (S::cluster == 1) {
    __syncthreads();
  } else {
    ptx::barrier_cluster_arrive_release();
    ptx::barrier_cluster_wait_acquire();
  }
  SBO_END("harness.setup");

  const Group free{threadIdx.x, kMathThreads + kStoreThreads, kFreeBarrier};
  const Group source{threadIdx.x, kMathThreads + kStoreThreads, kSourceBarrier};
  if (warp < kMathWarps) {
    ptx::setmaxnreg_inc<kMathRegisters>();
    multiply_tiles(p, memory, free, source);
  } else {
    ptx::setmaxnreg_dec<kOtherRegisters>();
    if (warp == kMathWarps) {
      if (threadIdx.x % kWarp == 0) load_tiles(p, memory);
    } else {
      store_tiles(p, memory, free, source);
    }
  }
  if constexpr (S::cluster > 1) {
    // The other CTA may still bring its part to this one's memory, or release a stage there.
    SBO_BEGIN("harness.leave");
    __syncwarp();
    ptx::barrier_cluster_arrive_release();
    ptx::barrier_cluster_wait_acquire();
    SBO_END("harness.leave");
  }
}

}  // namespace sbo
