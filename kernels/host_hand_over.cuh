// Hand-overs to a reader on the host: CTAs store tiles and signals into its pinned memory.
//
// Producers are the micro-kernel's, from the same text; there is no consumer here. The host polls the
// signals, reads the tiles and acknowledges, all in pinned memory, and every wait for it is bounded.
// The acknowledgement is read relaxed, at the scope that includes the host: it stands before the next
// tile, outside any hand-over.
#pragma once

#include "signal_publish.cuh"

namespace sbo {

// One line a pair, so that the host's stores to one do not disturb the poll of another.
__device__ __forceinline__ int acknowledged_by_host(const Parameters& p, const Pair& pair) {
  return ptx::ld_relaxed<ptx::Scope::sys>(p.acknowledged + pair.index * kAcknowledgeStride);
}

// Waits until at most `unacknowledged` earlier rounds are unread. False when everyone stops.
__device__ __forceinline__ bool wait_for_host(const Parameters& p, Control& control,
                                              const Pair& pair, const Group& group, unsigned round,
                                              unsigned unacknowledged) {
  SBO_BEGIN("harness.flow");
  if (group.rank == 0 && round >= unacknowledged) {
    const int wanted = static_cast<int>(round - unacknowledged + 1);
    // Twice the host's bound: of two that wait for each other, the host speaks first.
    Patience patience(p, 2 * p.timeout_ns);
    int seen;
    do {
      seen = acknowledged_by_host(p, pair);
    } while (seen < wanted && patience.lasts(seen));
    if (seen < wanted) {
      if (patience.timed_out) {
        note_fault(p, FaultKind::ACKNOWLEDGEMENT_NEVER_CAME, Role::PRODUCER, pair.index, round,
                   wanted, seen, patience.waited_ns);
        stop_everyone(p);
      }
      control.failed = 1;
    }
  }
  group.sync();
  SBO_END("harness.flow");
  return control.failed == 0;
}

// As the micro-kernel's `plant`, at system scope: the signal is sent before the tile is stored, and
// where it is `held`, no thread stores before the host has read the old tile.
__device__ __forceinline__ void plant_for_host(const Parameters& p, const Pair& pair,
                                               const Slot& slot, const Group& group,
                                               unsigned round) {
  SBO_BEGIN("harness.plant");
  if (group.rank == 0) {
    ptx::red_add_relaxed<ptx::Scope::sys>(slot.signal, 1);
    atomicAdd(&p.counters->planted, 1ULL);
  }
  if (p.plant_held) {
    Patience patience(p, p.timeout_ns);
    int seen;
    do {
      seen = acknowledged_by_host(p, pair);
    } while (seen < static_cast<int>(round + 1) && patience.lasts(seen));
  }
  SBO_END("harness.plant");
}

template <class V>
__device__ __forceinline__ void produce_for_host(const Parameters& p, Control& control,
                                                 const Pair& pair, const Group& group,
                                                 uint4* memory) {
#pragma unroll 1
  for (unsigned round = 0; round < p.rounds; ++round) {
    const unsigned tag = p.first_tag + round;
    const Slot slot = slot_of<V>(p, pair.index, round);
    uint4* const source = memory + (round % stage_count<V>()) * (p.tile_bytes / kChunkBytes);
    wait_for_source<V>(group);
    if (!wait_for_host(p, control, pair, group, round, p.in_flight)) break;
    if (p.producer_skew_cycles) {
      delay(mix(p.seed ^ (2 * tag + pair.index * 0x9e3779b9U)) % p.producer_skew_cycles);
    }
    if constexpr (V::store != Store::generic) fill_source(p, source, group, tag);
    source_fence<V>();
    source_join(group);
    if constexpr (V::moment == Moment::early) publish_round<V>(p, pair, group, round);
    if (is_planted<V>(p, pair.index, round)) plant_for_host(p, pair, slot, group, round);
    if (p.warp_skew_cycles) {
      const unsigned warp = pair.index * kThreads + group.rank / kIssuerStride;
      delay(mix(mix(p.seed ^ tag) + warp) % p.warp_skew_cycles);
    }
    store_tile<V>(p, slot, source, group, tag);
    drain<V>(group);
    join<V>(group);
    if constexpr (V::moment == Moment::after_tile) publish_round<V>(p, pair, group, round);
  }
  if constexpr (V::store != Store::generic) {
    // Shared memory must outlive the copy engine's reading of it.
    SBO_BEGIN("harness.reuse");
    if (is_issuer<V>(group)) ptx::cp_async_bulk_wait_group<0>();
    SBO_END("harness.reuse");
  }
  SBO_BEGIN("harness.report");
  group.sync();
  if (group.rank == 0) atomicAdd(&p.counters->finished, 1);
  SBO_END("harness.report");
}

template <class V>
__device__ __forceinline__ void host_hand_over(const Parameters& p) {
  static_assert(V::place == Place::host, "the consumer is a thread of the host");
  static_assert(V::moment != Moment::deferred, "the host is signalled tile by tile");
  extern __shared__ __align__(128) uint4 memory[];
  __shared__ Control control;
  __shared__ Part shared_part;
  __shared__ bool resident;

  SBO_BEGIN("harness.setup");
  for (unsigned i = threadIdx.x; i < sizeof(Control) / 4; i += blockDim.x) {
    reinterpret_cast<unsigned*>(&control)[i] = 0;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const Part part = take_part<V>(p);
    shared_part = part;
    if (part.role == Role::PRODUCER && part.pair < p.pairs) {
      ptx::st_relaxed<ptx::Scope::gpu>(reinterpret_cast<int*>(p.pair_sms + 2 * part.pair),
                                       static_cast<int>(ptx::smid()));
    }
    resident = all_are_resident(p);
    __threadfence();
  }
  __syncthreads();
  const Part part = shared_part;
  SBO_END("harness.setup");
  if (!resident) return;

  if (part.role == Role::NOISE) {
    make_noise(p);
  } else if (part.role == Role::PRODUCER && part.pair < p.pairs) {
    const Pair pair{part.pair, 0, 0};
    produce_for_host<V>(p, control, pair, Group{threadIdx.x, blockDim.x, 1}, memory);
  }
}

}  // namespace sbo
