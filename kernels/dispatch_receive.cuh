// Dispatch Receive, as a model of one: a few CTAs bring rows that have arrived to where a GEMM reads
// them.
//
// Nothing crosses a link here. The rows lie in device memory already, and how many CTAs copy them
// stands for how fast a link is; a benchmark says what rate that is.
#pragma once

#include "receive_parameters.cuh"

namespace sbo {

constexpr unsigned kReceiveInFlight = 8;

__device__ __forceinline__ void dispatch_receive(const ReceiveParameters& p) {
  const uint4* const source = reinterpret_cast<const uint4*>(p.source);
  uint4* const destination = reinterpret_cast<uint4*>(p.destination);
  const unsigned long long chunks = p.bytes / sizeof(uint4);
  const unsigned long long step = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  const unsigned long long first = static_cast<unsigned long long>(blockIdx.x) * blockDim.x +
                                   threadIdx.x;
#pragma unroll 1
  for (unsigned long long base = first; base < chunks; base += step * kReceiveInFlight) {
    uint4 v[kReceiveInFlight];
#pragma unroll
    for (unsigned i = 0; i < kReceiveInFlight; ++i) {
      if (base + i * step < chunks) v[i] = ptx::ld_weak_v4(source + base + i * step);
    }
#pragma unroll
    for (unsigned i = 0; i < kReceiveInFlight; ++i) {
      if (base + i * step < chunks) ptx::st_weak_v4(destination + base + i * step, v[i]);
    }
  }
}

}  // namespace sbo
