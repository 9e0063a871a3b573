// What stands between the rounds of a live stress: the check of the last round's signals, and the
// next round's input and poison; the gate that holds the producer until its consumers run; noise.
#pragma once

#include "combine_send.cuh"

namespace sbo {
namespace combine {

// Each block of K adds twice the row's name, and the last takes back all but one: no partial sum
// is the name, and all are whole multiples of it, which FP32 holds.
__device__ __forceinline__ float weight_of(unsigned k_block, unsigned k_blocks) {
  return k_block + 1 < k_blocks ? 2.0F : 1.0F - 2.0F * static_cast<float>(k_blocks - 1);
}

// Every slot with rows must have ended at the threshold, all other signals at 0.
__device__ __forceinline__ void audit_slot(const CombineParameters& p, unsigned index,
                                           unsigned round, int ended) {
  const unsigned blocks = (p.m + p.block_m - 1) / p.block_m;
  const unsigned group = index / blocks;
  const unsigned rows = group < p.groups ? static_cast<unsigned>(p.received[group]) : 0;
  CombineCounters& all = *p.counters;
  if (index % blocks * p.block_m >= rows) {
    if (ended != 0) {
      atomicAdd(&all.slots_stray, 1ULL);
      note_fault(p, FaultKind::SIGNAL_STRAYED, Role::PRODUCER, index, round, 0, ended, 0);
    }
    return;
  }
  atomicMin(&all.signal_lowest, ended);
  atomicMax(&all.signal_highest, ended);
  if (ended > p.threshold) {
    atomicAdd(&all.slots_over, 1ULL);
    note_fault(p, FaultKind::SIGNAL_OVERSHOT, Role::PRODUCER, index, round, p.threshold, ended, 0);
  }
  if (ended < p.threshold) {
    atomicAdd(&all.slots_short, 1ULL);
    note_fault(p, FaultKind::THRESHOLD_NEVER_REACHED, Role::PRODUCER, index, round, p.threshold,
               ended, 0);
  }
}

}  // namespace combine

// Between two rounds, when nobody else runs. After a stop the last round is still audited, once, and
// nothing further begins.
__device__ __forceinline__ void prepare_round(const RoundParameters& r, const CombineParameters& p) {
  using namespace combine;
  __shared__ bool last;
  CombineCounters& all = *p.counters;
  const unsigned round = static_cast<unsigned>(*const_cast<volatile int*>(&all.round));
  const bool audits = round > 0 && *const_cast<volatile unsigned*>(&all.audited) < round;
  const bool begins = *const_cast<volatile int*>(&all.stop) == 0;
  const unsigned first = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned step = gridDim.x * blockDim.x;
  for (unsigned i = first; i < r.signal_count; i += step) {
    if (audits) audit_slot(p, i, round, p.signals[i]);
    if (begins) p.signals[i] = 0;
  }
  if (begins) {
    const float name = __uint_as_float(name_of(round + 1) << 16) / static_cast<float>(kBlockK);
    for (unsigned i = first; i < r.scale_count; i += step) {
      r.scales[i] = name * weight_of(i / r.scale_pitch % r.k_blocks, r.k_blocks);
    }
    const unsigned poison = kPoison << 16 | kPoison;
    uint4* const d = reinterpret_cast<uint4*>(r.d);
    for (unsigned long long i = first; i < r.d_bytes / kChunkBytes; i += step) {
      ptx::st_weak_v4(d + i, make_uint4(poison, poison, poison, poison));
    }
  }
  // The last CTA turns the page: all others have read it.
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(&all.tickets, 1U) == gridDim.x - 1;
  __syncthreads();
  if (last && threadIdx.x == 0) {
    all.tickets = 0;
    all.audited = round;
    if (r.ends) all.ended = 1;
    if (begins) {
      all.round = static_cast<int>(round + 1);
      all.arrived = 0;
    }
  }
}

// One thread, on the producer's stream: it ends when every CTA of Combine Send runs, or gives up.
__device__ __forceinline__ void gate(const CombineParameters& p) {
  const int round = ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->round);
  combine::all_run(p, &p.counters->arrived, p.consumers, static_cast<unsigned>(round));
}

// The same for the noise, before the first round.
__device__ __forceinline__ void gate_noise(const CombineParameters& p) {
  combine::all_run(p, &p.counters->noisy, p.noise_ctas, 0);
}

// CTAs that make noise from before the first round until behind the last: it takes a while to fill
// L2 with lines that have to be written back. They give up where no round passes any more.
__device__ __forceinline__ void make_noise(const CombineParameters& p) {
  Noise noise(p.noise, p.noise_bytes, p.noise_kind, blockIdx.x, gridDim.x, p.seed);
  if (threadIdx.x == 0) atomicAdd(&p.counters->noisy, 1);
  int round = 0;
  unsigned long long begun = ptx::globaltimer();
  while (ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->ended) == 0 &&
         ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->stop) == 0) {
    const int now = ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->round);
    if (now != round) {
      round = now;
      begun = ptx::globaltimer();
    } else if (ptx::globaltimer() - begun >= p.noise_limit_ns) {
      break;
    }
    noise.burst();
  }
}

}  // namespace sbo
