// What a stress needs around a hand-over: bounded waits, fault records, delays and noise.
//
// `P` is a kernel's parameter structure. It has `counters` with the words `fault_claimed` and `stop`,
// and `fault`; everything here is marked `harness` for the reader of compiled code.
#pragma once

#include "signal.cuh"

namespace sbo {

constexpr unsigned kChunkBytes = 16;
constexpr unsigned kPollsPerLook = 64;

__device__ __forceinline__ unsigned mix(unsigned x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}

__device__ __forceinline__ void delay(unsigned cycles) {
  if (cycles == 0) return;
  const unsigned long long start = ptx::clock64();
  while (ptx::clock64() - start < cycles) {
  }
}

// Records the first fault of a launch. Whether others stop is the caller's decision. `consumer` is
// whom it concerns where one hand-over has several.
template <class P>
__device__ __forceinline__ void note_fault(const P& p, FaultKind what, Role waiter, unsigned pair,
                                           unsigned round, int wanted, int seen,
                                           unsigned long long waited_ns, unsigned consumer = 0) {
  SBO_BEGIN("harness.fault");
  if (atomicExch(&p.counters->fault_claimed, 1U) == 0) {
    FaultEntry& fault = *p.fault;
    fault.what = static_cast<unsigned>(what);
    fault.waiter = static_cast<unsigned>(waiter);
    fault.pair = pair;
    fault.round = round;
    fault.wanted = wanted;
    fault.seen = seen;
    fault.sm = ptx::smid();
    fault.waited_ns = waited_ns;
    fault.consumer = consumer;
  }
  SBO_END("harness.fault");
}

// Bounds a spin by time, and ends it when another thread has given up.
template <class P>
struct Patience {
  const P& p;
  unsigned long long limit_ns;
  unsigned long long started = 0;
  unsigned long long waited_ns = 0;
  unsigned polls = 0;
  bool timed_out = false;

  __device__ __forceinline__ Patience(const P& parameters, unsigned long long limit)
      : p(parameters), limit_ns(limit) {}

  __device__ __forceinline__ bool lasts(int) {
    if (++polls % kPollsPerLook != 0) return true;
    SBO_BEGIN("harness.patience");
    const unsigned long long now = ptx::globaltimer();
    const int stop = ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->stop);
    SBO_END("harness.patience");
    if (started == 0) started = now;
    waited_ns = now - started;
    timed_out = waited_ns >= limit_ns;
    return !timed_out && stop == 0;
  }
};

// As above for a signal that only grows: once past an exact threshold it cannot come back.
template <class V, class P>
struct SignalPatience : Patience<P> {
  int threshold;

  __device__ __forceinline__ SignalPatience(const P& parameters, int wanted)
      : Patience<P>(parameters, parameters.timeout_ns), threshold(wanted) {}

  __device__ __forceinline__ bool lasts(int seen) {
    if (V::test == Test::equal && seen > threshold) {
      this->timed_out = true;
      return false;
    }
    return Patience<P>::lasts(seen);
  }
};

template <class P>
__device__ __forceinline__ void stop_everyone(const P& p) {
  SBO_BEGIN("harness.stop");
  ptx::st_relaxed<ptx::Scope::gpu>(&p.counters->stop, 1);
  SBO_END("harness.stop");
}

// Brings old lines into this SM's L1, as a kernel that reused the buffer would have. What is loaded
// is used, for ptxas drops a weak load whose result is not; `sink` is in shared memory.
__device__ __forceinline__ void prime_l1(const uint4* old, unsigned chunks, const Group& group,
                                         unsigned& sink) {
  SBO_BEGIN("harness.prime");
  unsigned used = 0;
  for (unsigned chunk = group.rank; chunk < chunks; chunk += group.size) {
    used ^= ptx::ld_weak_v4(old + chunk).x;
  }
  *const_cast<volatile unsigned*>(&sink) = used;
  SBO_END("harness.prime");
}

// Traffic of CTA `cta` of `ctas` on memory disjoint from the tiles, burst by burst.
class Noise {
 public:
  __device__ __forceinline__ Noise(uint4* memory, unsigned long long bytes, unsigned kind,
                                   unsigned cta, unsigned ctas, unsigned seed)
      : memory_(memory),
        chunks_(bytes / kChunkBytes),
        kind_(kind),
        stride_(static_cast<unsigned long long>(ctas) * blockDim.x),
        at_(cta * blockDim.x + threadIdx.x),
        random_(mix(seed ^ static_cast<unsigned>(at_))) {
    if (wanted()) at_ %= chunks_;
  }

  __device__ __forceinline__ bool wanted() const {
    return kind_ != static_cast<unsigned>(NoiseKind::NONE) && chunks_ != 0;
  }

  __device__ __forceinline__ void burst() {
    constexpr unsigned kBurst = 32;
    for (unsigned i = 0; i < kBurst; ++i) {
      uint4* const address = memory_ + at_;
      if (kind_ == static_cast<unsigned>(NoiseKind::STORE)) {
        ptx::st_weak_v4(address, make_uint4(i, i, i, i));
      } else if (kind_ == static_cast<unsigned>(NoiseKind::LOAD_STORE)) {
        uint4 v = ptx::ld_weak_v4(address);
        v.x += 1;
        ptx::st_weak_v4(address, v);
      } else {
        random_ = mix(random_ + i);
        int* const word = reinterpret_cast<int*>(memory_ + random_ % chunks_);
        ptx::red_add_relaxed<ptx::Scope::gpu>(word, 1);
      }
      // A division for each store would halve the traffic.
      at_ += stride_;
      if (at_ >= chunks_) at_ %= chunks_;
    }
  }

 private:
  uint4* memory_;
  unsigned long long chunks_;
  unsigned kind_;
  unsigned long long stride_;
  unsigned long long at_;
  unsigned random_;
};

}  // namespace sbo
