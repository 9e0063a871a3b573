// More wrappers of ptx.cuh's kind, for kernels that load tiles through a pipeline: tensor copies in
// three dimensions, arrivals at an mbarrier, accumulators to shared memory.
//
// The rules are those of ptx.cuh: one instruction each, "memory" clobbered always.
#pragma once

#include "ptx.cuh"

namespace sbo {
namespace ptx {

__device__ __forceinline__ void prefetch_global_l2(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address) : "memory");
}

__device__ __forceinline__ void prefetch_tensormap(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

__device__ __forceinline__ void cp_async_bulk_tensor_3d_load(void* destination, const TensorMap* map,
                                                             int x, int y, int z,
                                                             unsigned long long* mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(shared_address(destination)),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(shared_address(mbarrier))
      : "memory");
}

// To the same place in every CTA of `ctas`, a set of ranks in the cluster as bits.
__device__ __forceinline__ void cp_async_bulk_tensor_3d_load_multicast(
    void* destination, const TensorMap* map, int x, int y, int z, unsigned long long* mbarrier,
    unsigned short ctas) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(
          shared_address(destination)),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(shared_address(mbarrier)), "h"(ctas)
      : "memory");
}

__device__ __forceinline__ void cp_async_bulk_tensor_3d_store(const TensorMap* map, int x, int y,
                                                              int z, const void* source) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%1, %2, %3}], [%4];" ::"l"(map),
      "r"(x), "r"(y), "r"(z), "r"(shared_address(source))
      : "memory");
}

__device__ __forceinline__ void mbarrier_arrive(unsigned long long* mbarrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(shared_address(mbarrier))
               : "memory");
}

// `address` is one of `mapa`, in the window of the whole cluster. At cta scope, as libraries have it:
// what arrives has read its operands (wgmma.wait_group), and nothing it wrote is handed on. Cluster
// scope compiles to MEMBAR.ALL.GPU, once for every 128 of K.
__device__ __forceinline__ void mbarrier_arrive_remote(unsigned address) {
  asm volatile("mbarrier.arrive.release.cta.shared::cluster.b64 _, [%0];" ::"r"(address) : "memory");
}

// The address that CTA `rank` of the cluster knows `pointer`'s offset by.
__device__ __forceinline__ unsigned mapa(const void* pointer, unsigned rank) {
  unsigned address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address) : "r"(shared_address(pointer)), "r"(rank) : "memory");
  return address;
}

// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void stmatrix_x4(unsigned address, const unsigned (&fragment)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
               "r"(fragment[0]), "r"(fragment[1]), "r"(fragment[2]), "r"(fragment[3])
               : "memory");
}

// Two bfloat16, `low` in the lower half.
__device__ __forceinline__ unsigned cvt_bf16x2(float low, float high) {
  unsigned packed;
  asm volatile("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low) : "memory");
  return packed;
}

template <int Registers>
__device__ __forceinline__ void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers) : "memory");
}

template <int Registers>
__device__ __forceinline__ void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers) : "memory");
}

}  // namespace ptx
}  // namespace sbo
