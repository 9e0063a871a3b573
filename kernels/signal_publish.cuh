// The micro-kernel of `signal_publish`: pairs of a producer and a consumer hand tiles over, round
// after round, while other CTAs make noise. A pair may have several consumers, on SMs of their own,
// which all poll the same signal and read the same tile.
//
// Every word of a tile is the number of its round (`tag`), so that the consumer tells stale from
// fresh by itself, word by word. Tiles rotate through a ring, so that addresses change. A producer
// goes on when every consumer has acknowledged; the acknowledgement is relaxed on the producer's
// side, because an acquire there would drop lines from an L1 that a consumer on the same SM may be
// about to read stale, and would hide what is looked for.
//
// Every spin is bounded by time and leaves a record before it gives up. What belongs to the
// protocol stands in signal.cuh; the rest is marked `harness` for the reader of compiled code.
#pragma once

#include "patience.cuh"
#include "signal.cuh"

namespace sbo {

// A launch may have half as many threads in a CTA, and with that twice as many CTAs on an SM.
constexpr unsigned kThreads = 256;
constexpr unsigned kFewestThreads = 128;
constexpr unsigned kAcknowledgeStride = 32;  // one counter to a 128-byte line
constexpr unsigned kLoadsInFlight = 4;

// What a group of threads keeps in shared memory.
struct Control {
  unsigned long long mbarrier;
  unsigned histogram[kHistogramBins];
  unsigned stale_words;
  unsigned ahead_words;
  unsigned witnessed_tag;
  unsigned failed;
  unsigned flag;
  unsigned primed;
};

// A pair as one of its CTAs sees it; `consumer` is 0 to the producer.
struct Pair {
  unsigned index;
  unsigned consumer;
  unsigned producer_sm;
  unsigned consumer_sm;
};

// Which tile, which signal, and the value that announces round `round`.
struct Slot {
  unsigned tile;
  uint4* data;
  int* signal;
  int threshold;
};

template <class V>
__device__ __forceinline__ Slot slot_of(const Parameters& p, unsigned pair, unsigned round) {
  const unsigned tile = pair * p.ring + round % p.ring;
  const unsigned long long chunks = p.tile_bytes / kChunkBytes;
  const int turn = static_cast<int>(round / p.ring) + 1;
  return {tile, p.tiles + tile * chunks, p.signals + tile,
          V::test == Test::equal_reused ? 1 : turn};
}

// Every consumer counts for itself: in a sum, one that is ahead would hide one that is behind, and
// the producer would write a slot that is still being read.
__device__ __forceinline__ int* acknowledgements_of(const Parameters& p, unsigned pair,
                                                    unsigned consumer) {
  return p.acknowledged + (pair * p.consumers + consumer) * kAcknowledgeStride;
}

// ---- reading a tile and telling stale from fresh --------------------------------------------

struct Reader {
  unsigned rank;
  unsigned count;
};

struct Check {
  const Parameters& p;
  Control& control;
  Pair pair;
  unsigned round;
  unsigned tag;
  unsigned tile;
  int signal;
  unsigned long long signal_cycles;
};

// The rare path: some word of this chunk is not this round's.
__device__ __forceinline__ bool note_chunk(const Check& c, unsigned chunk, uint4 v) {
  SBO_BEGIN("harness.count");
  const unsigned words[4] = {v.x, v.y, v.z, v.w};
  unsigned stale = 0;
  unsigned ahead = 0;
  unsigned first = 4;
  for (unsigned i = 0; i < 4; ++i) {
    const int behind = static_cast<int>(c.tag - words[i]);
    if (behind > 0 && first == 4) first = i;
    stale += behind > 0;
    ahead += behind < 0;
  }
  // After a failed poll there was no hand-over, so whatever is read says nothing.
  const bool counts = *const_cast<volatile unsigned*>(&c.control.failed) == 0;
  if (counts) {
    const unsigned bin =
        static_cast<unsigned>(static_cast<unsigned long long>(chunk) * kChunkBytes *
                              kHistogramBins / c.p.tile_bytes);
    if (stale) atomicAdd(&c.control.histogram[bin], stale);
    atomicAdd(&c.control.stale_words, stale);
    atomicAdd(&c.control.ahead_words, ahead);
    if (stale && atomicExch(&c.control.witnessed_tag, c.tag) != c.tag) {
      const unsigned index = atomicAdd(&c.p.counters->witnesses, 1U);
      if (index < c.p.witness_capacity) {
        WitnessEntry& w = c.p.witnesses[index];
        w.round = c.round;
        w.pair = c.pair.index;
        w.tile = c.tile;
        w.offset_bytes = chunk * kChunkBytes + first * 4;
        w.expected = c.tag;
        w.seen = words[first];
        w.signal = c.signal;
        w.producer_sm = c.pair.producer_sm;
        w.consumer_sm = c.pair.consumer_sm;
        w.consumer = c.pair.consumer;
        w.cycles_since_signal = ptx::clock64() - c.signal_cycles;
      }
    }
  }
  SBO_END("harness.count");
  return counts && stale != 0;
}

__device__ __forceinline__ unsigned chunk_at(const Parameters& p, unsigned step, unsigned chunks,
                                             unsigned start) {
  // One question of `read_order` alone: of three cases ptxas makes a jump that nobody can read.
  unsigned chunk = step + start;
  if (chunk >= chunks) chunk -= chunks;
  return p.read_order == static_cast<unsigned>(ReadOrder::TAIL_FIRST) ? chunks - 1 - chunk : chunk;
}

// True if this thread saw a stale word. `load` maps a chunk's index to its 16 bytes.
template <class Load>
__device__ __forceinline__ bool check_chunks(const Check& c, Reader reader, Load load) {
  const unsigned chunks = c.p.tile_bytes / kChunkBytes;
  const bool rotated = c.p.read_order == static_cast<unsigned>(ReadOrder::ROTATED);
  const unsigned start = rotated ? mix(c.p.seed ^ c.tag) % chunks : 0;
  bool stale = false;
#pragma unroll 1
  for (unsigned base = reader.rank; base < chunks; base += reader.count * kLoadsInFlight) {
    uint4 v[kLoadsInFlight];
#pragma unroll
    for (unsigned i = 0; i < kLoadsInFlight; ++i) {
      const unsigned step = base + i * reader.count;
      if (step < chunks) v[i] = load(chunk_at(c.p, step, chunks, start));
    }
#pragma unroll
    for (unsigned i = 0; i < kLoadsInFlight; ++i) {
      const unsigned step = base + i * reader.count;
      const unsigned odd =
          (v[i].x ^ c.tag) | (v[i].y ^ c.tag) | (v[i].z ^ c.tag) | (v[i].w ^ c.tag);
      if (step < chunks && odd != 0) {
        stale |= note_chunk(c, chunk_at(c.p, step, chunks, start), v[i]);
      }
    }
  }
  return stale;
}

// How a tile is cut into the rows of its tensor map.
struct Cut {
  unsigned rows;
  unsigned first_row;
};

__device__ __forceinline__ Cut cut_of(const Parameters& p, unsigned tile) {
  const unsigned rows = p.tile_bytes / p.row_bytes;
  return {rows, tile * rows};
}

// The bulk load of a whole tile by one thread, and the wait for it by all.
template <class V>
__device__ __forceinline__ void load_by_tma(const Check& c, const Slot& slot, uint4* buffer,
                                            const Group& group, unsigned phase) {
  // A thread far from the first issues: never the one that polled alone, unless it reads alone.
  const unsigned issuer = V::fan_out == FanOut::alone ? 0 : kFewestThreads - 1;
  if (group.rank == issuer) {
    if constexpr (V::read == Read::tma_after_fence) ptx::fence_proxy_async();
    ptx::mbarrier_arrive_expect_tx(&c.control.mbarrier, c.p.tile_bytes);
    if constexpr (V::store == Store::tensor) {
      const Cut cut = cut_of(c.p, slot.tile);
      for (unsigned row = 0; row < cut.rows; row += c.p.box_rows) {
        ptx::cp_async_bulk_tensor_2d_load(buffer + row * c.p.row_bytes / kChunkBytes, &c.p.map, 0,
                                          static_cast<int>(cut.first_row + row),
                                          &c.control.mbarrier);
      }
    } else {
      ptx::cp_async_bulk_load(buffer, slot.data, c.p.tile_bytes, &c.control.mbarrier);
    }
  }
  Patience patience(c.p, c.p.timeout_ns);
  while (!ptx::mbarrier_try_wait_acquire(&c.control.mbarrier, phase)) {
    if (!patience.lasts(0)) {
      if (patience.timed_out) {
        note_fault(c.p, FaultKind::COPY_NEVER_COMPLETED, Role::CONSUMER, c.pair.index, c.round, 1, 0,
                   patience.waited_ns);
        stop_everyone(c.p);
      }
      *const_cast<volatile unsigned*>(&c.control.failed) = 1;
      break;
    }
  }
}

template <class V>
__device__ __forceinline__ bool read_tile(const Check& c, const Slot& slot, uint4* buffer,
                                          const Group& group, Reader reader, unsigned phase) {
  SBO_BEGIN("consumer.read");
  bool stale;
  if constexpr (reads_by_tma<V>()) {
    load_by_tma<V>(c, slot, buffer, group, phase);
    stale = check_chunks(c, reader,
                         [&](unsigned chunk) { return ptx::ld_weak_shared_v4(buffer + chunk); });
  } else {
    stale = check_chunks(c, reader,
                         [&](unsigned chunk) { return read_global<V>(slot.data + chunk); });
  }
  SBO_END("consumer.read");
  return stale;
}

// Counts of one group, added to the launch's. Of several that observe a tile, the first counts it.
__device__ __forceinline__ void report(const Parameters& p, Control& control, const Pair& pair,
                                       const Group& group, unsigned observations,
                                       unsigned stale_tiles, unsigned overshoots) {
  SBO_BEGIN("harness.report");
  group.sync();
  for (unsigned bin = group.rank; bin < kHistogramBins; bin += group.size) {
    if (control.histogram[bin]) {
      atomicAdd(&p.counters->histogram[bin],
                static_cast<unsigned long long>(control.histogram[bin]));
    }
  }
  if (group.rank == 0) {
    atomicAdd(&p.counters->observations, static_cast<unsigned long long>(observations));
    if (pair.consumer == 0) {
      atomicAdd(&p.counters->hand_overs, static_cast<unsigned long long>(observations));
    }
    atomicAdd(&p.counters->stale_tiles, static_cast<unsigned long long>(stale_tiles));
    atomicAdd(&p.counters->stale_words, static_cast<unsigned long long>(control.stale_words));
    atomicAdd(&p.counters->ahead_words, static_cast<unsigned long long>(control.ahead_words));
    atomicAdd(&p.counters->overshoots, static_cast<unsigned long long>(overshoots));
    atomicAdd(&p.counters->finished, 1);
  }
  SBO_END("harness.report");
}

// ---- producer -------------------------------------------------------------------------------

// Waits until at most `unacknowledged` earlier rounds are unread by some consumer, each of whom a
// thread of its own waits for. False when everyone stops.
__device__ __forceinline__ bool wait_for_consumers(const Parameters& p, Control& control,
                                                   const Pair& pair, const Group& group,
                                                   unsigned round, unsigned unacknowledged) {
  SBO_BEGIN("harness.flow");
  if (group.rank < p.consumers && round >= unacknowledged) {
    const int wanted = static_cast<int>(round - unacknowledged + 1);
    // Twice the consumer's bound: of two that wait for each other, the consumer speaks first.
    Patience patience(p, 2 * p.timeout_ns);
    int seen;
    do {
      seen = ptx::ld_relaxed<ptx::Scope::gpu>(acknowledgements_of(p, pair.index, group.rank));
    } while (seen < wanted && patience.lasts(seen));
    if (seen < wanted) {
      if (patience.timed_out) {
        note_fault(p, FaultKind::ACKNOWLEDGEMENT_NEVER_CAME, Role::PRODUCER, pair.index, round,
                   wanted, seen, patience.waited_ns, group.rank);
        stop_everyone(p);
      }
      control.failed = 1;
    }
  }
  group.sync();
  SBO_END("harness.flow");
  return control.failed == 0;
}

__device__ __forceinline__ void fill_source(const Parameters& p, uint4* source, const Group& group,
                                            unsigned tag) {
  SBO_BEGIN("harness.fill");
  for (unsigned chunk = group.rank; chunk < p.tile_bytes / kChunkBytes; chunk += group.size) {
    ptx::st_weak_shared_v4(source + chunk, make_uint4(tag, tag, tag, tag));
  }
  SBO_END("harness.fill");
}

template <class V>
__device__ __forceinline__ void store_tile(const Parameters& p, const Slot& slot, const uint4* source,
                                           const Group& group, unsigned tag) {
  if constexpr (V::store == Store::generic) {
    SBO_BEGIN("producer.store");
    for (unsigned chunk = group.rank; chunk < p.tile_bytes / kChunkBytes; chunk += group.size) {
      ptx::st_weak_v4(slot.data + chunk, make_uint4(tag, tag, tag, tag));
    }
    SBO_END("producer.store");
  } else if (is_issuer<V>(group)) {
    const unsigned issuer = group.rank / kIssuerStride;
    const Cut cut = cut_of(p, slot.tile);
    const unsigned begin = cut.rows * issuer / issuer_count<V>();
    const unsigned end = cut.rows * (issuer + 1) / issuer_count<V>();
    const unsigned chunks_per_row = p.row_bytes / kChunkBytes;
    SBO_BEGIN("producer.store");
    if constexpr (V::store == Store::tensor) {
      for (unsigned row = begin; row < end; row += p.box_rows) {
        ptx::cp_async_bulk_tensor_2d_store(&p.map, 0, static_cast<int>(cut.first_row + row),
                                           source + row * chunks_per_row);
      }
    } else if (begin < end) {
      ptx::cp_async_bulk_store(slot.data + begin * chunks_per_row, source + begin * chunks_per_row,
                               (end - begin) * p.row_bytes);
    }
    ptx::cp_async_bulk_commit_group();
    SBO_END("producer.store");
  }
}

// Whether the hand-over of `round` is broken on purpose, as one in `plant_one_in` is at random.
template <class V>
__device__ __forceinline__ bool is_planted(const Parameters& p, unsigned pair, unsigned round) {
  constexpr bool behind_next_store = V::moment == Moment::deferred && newest_pending<V>();
  if constexpr (V::poll == Poll::none || V::test == Test::equal_reused || behind_next_store) {
    return false;
  }
  return p.plant_one_in != 0 &&
         mix(mix(p.seed ^ (pair * 0x9e3779b9U)) + round) % p.plant_one_in == 0;
}

// The fault of `Moment::early`: the signal is sent before the tile is stored. Where it is `held`, no
// thread stores before all consumers have read the old tile: each waits by itself, with no barrier.
__device__ __forceinline__ void plant(const Parameters& p, const Pair& pair, const Slot& slot,
                                      const Group& group, unsigned round) {
  SBO_BEGIN("harness.plant");
  if (group.rank == 0) {
    ptx::red_add_relaxed<ptx::Scope::gpu>(slot.signal, 1);
    atomicAdd(&p.counters->planted, 1ULL);
  }
  if (p.plant_held) {
    Patience patience(p, p.timeout_ns);
#pragma unroll 1
    for (unsigned consumer = 0; consumer < p.consumers; ++consumer) {
      int seen;
      do {
        seen = ptx::ld_relaxed<ptx::Scope::gpu>(acknowledgements_of(p, pair.index, consumer));
      } while (seen < static_cast<int>(round + 1) && patience.lasts(seen));
    }
  }
  SBO_END("harness.plant");
}

// The signal of `round`, by the publishing thread. A cluster peer signals for its neighbour.
template <class V>
__device__ __forceinline__ void publish_round(const Parameters& p, const Pair& pair,
                                              const Group& group, unsigned round) {
  if constexpr (V::publish != Publish::none) {
    if (is_publisher<V>(group)) {
      const unsigned target =
          V::publisher == Publisher::cluster_peer ? pair.index ^ 1U : pair.index;
      const Slot slot = slot_of<V>(p, target, round);
      delay(p.delay_before_publish_cycles);
      // Two faults that tests inject: a signal that never comes, and one that comes twice.
      const int number = static_cast<int>(round);
      const int extra = number == p.doubled_round ? 1 : 0;
      if (number != p.withheld_round && !is_planted<V>(p, target, round)) {
        publish<V>(slot.signal, 1 + extra, slot.threshold + extra);
      }
    }
  }
}

// Shared memory may be refilled once the copy engine has read it.
template <class V>
__device__ __forceinline__ void wait_for_source(const Group& group) {
  if constexpr (V::store != Store::generic) {
    if (is_issuer<V>(group)) {
      SBO_BEGIN("harness.reuse");
      ptx::cp_async_bulk_wait_group_read<stage_count<V>() - 1>();
      SBO_END("harness.reuse");
    }
  }
}

// The drain, and how long the first thread, which issues, was in it: added to `cycles` where that is
// asked for. It is asked for by itself, since a clock that is read delays what follows.
template <class V>
__device__ __forceinline__ void drain_timed(const Parameters& p, const Group& group,
                                            unsigned long long& cycles) {
  const unsigned long long begun = p.time_drain ? ptx::clock64() : 0;
  drain<V>(group);
  if (p.time_drain) cycles += ptx::clock64() - begun;
}

template <class V>
__device__ __forceinline__ void produce(const Parameters& p, Control& control, const Pair& pair,
                                        const Group& group, uint4* memory) {
  constexpr bool deferred = V::moment == Moment::deferred;
  constexpr bool deferred_behind_store = deferred && newest_pending<V>();
  constexpr bool reads_back = V::poll == Poll::none;
  unsigned observations = 0;
  unsigned stale_tiles = 0;
  unsigned long long drain_cycles = 0;
#pragma unroll 1
  for (unsigned round = 0; round < p.rounds; ++round) {
    const unsigned tag = p.first_tag + round;
    const Slot slot = slot_of<V>(p, pair.index, round);
    uint4* const source = memory + (round % stage_count<V>()) * (p.tile_bytes / kChunkBytes);
    if constexpr (deferred && !deferred_behind_store) {
      if (round > 0) {
        drain_timed<V>(p, group, drain_cycles);
        join<V>(group);
        publish_round<V>(p, pair, group, round - 1);
      }
    }
    wait_for_source<V>(group);
    if constexpr (reads_back) {
      if (p.prime_l1) prime_l1(slot.data, p.tile_bytes / kChunkBytes, group, control.primed);
      SBO_BEGIN("harness.flow");
      group.sync();
      SBO_END("harness.flow");
    } else {
      const unsigned unacknowledged = p.in_flight + (deferred ? 1 : 0);
      if (!wait_for_consumers(p, control, pair, group, round, unacknowledged)) break;
    }
    if (p.producer_skew_cycles) {
      delay(mix(p.seed ^ (2 * tag + pair.index * 0x9e3779b9U)) % p.producer_skew_cycles);
    }
    if constexpr (V::store != Store::generic) fill_source(p, source, group, tag);
    source_fence<V>();
    source_join(group);
    if constexpr (V::moment == Moment::early) publish_round<V>(p, pair, group, round);
    if (is_planted<V>(p, pair.index, round)) plant(p, pair, slot, group, round);
    if (p.warp_skew_cycles) {
      const unsigned warp = pair.index * kThreads + group.rank / kIssuerStride;
      delay(mix(mix(p.seed ^ tag) + warp) % p.warp_skew_cycles);
    }
    store_tile<V>(p, slot, source, group, tag);
    if constexpr (!deferred || deferred_behind_store) {
      drain_timed<V>(p, group, drain_cycles);
      join<V>(group);
    }
    if constexpr (V::moment == Moment::after_tile) publish_round<V>(p, pair, group, round);
    if constexpr (deferred_behind_store) {
      if (round > 0) publish_round<V>(p, pair, group, round - 1);
    }
    if constexpr (reads_back) {
      delay(p.delay_after_poll_cycles);
      const Check check{p, control, pair, round, tag, slot.tile, -1, ptx::clock64()};
      const bool alone = V::fan_out == FanOut::alone;
      bool stale = false;
      if (!alone || group.rank == 0) {
        const Reader reader = alone ? Reader{0, 1} : Reader{group.rank, group.size};
        stale = read_tile<V>(check, slot, memory, group, reader, 0);
      }
      SBO_BEGIN("harness.done");
      stale_tiles += ptx::barrier_cta_red_or(group.barrier, group.size, stale);
      SBO_END("harness.done");
      ++observations;
    }
  }
  if constexpr (deferred) {
    flush<V>(group);
    join<V>(group);
    if (control.failed == 0) publish_round<V>(p, pair, group, p.rounds - 1);
  }
  if constexpr (V::store != Store::generic) {
    // Shared memory must outlive the copy engine's reading of it.
    SBO_BEGIN("harness.reuse");
    if (is_issuer<V>(group)) ptx::cp_async_bulk_wait_group<0>();
    SBO_END("harness.reuse");
  }
  if (p.time_drain && group.rank == 0) {
    SBO_BEGIN("harness.timed");
    atomicAdd(&p.counters->drain_cycles, drain_cycles);
    SBO_END("harness.timed");
  }
  if constexpr (reads_back) report(p, control, pair, group, observations, stale_tiles, 0);
}

// ---- consumer -------------------------------------------------------------------------------

// Another consumer of the pair, for which the producer waits before it signals `round`: it has
// acknowledged `seen` rounds of the `wanted`. `p.consumers` where there is none.
template <class V>
__device__ __forceinline__ unsigned held_up_by(const Parameters& p, const Pair& pair,
                                               unsigned round, int& wanted, int& seen) {
  // A deferred signal that is sent before the next tile's wait depends on one round less.
  constexpr unsigned deferred = V::moment == Moment::deferred && !newest_pending<V>() ? 1 : 0;
  wanted = static_cast<int>(round + 1) - static_cast<int>(p.in_flight + deferred);
  unsigned consumer = 0;
  SBO_BEGIN("harness.patience");
#pragma unroll 1
  for (; consumer < p.consumers; ++consumer) {
    seen = ptx::ld_relaxed<ptx::Scope::gpu>(acknowledgements_of(p, pair.index, consumer));
    if (consumer != pair.consumer && seen < wanted) break;
  }
  SBO_END("harness.patience");
  return consumer;
}

// One thread's wait for the signal. False when it gave up; `seen` is the last value.
template <class V>
__device__ __forceinline__ bool wait_for_signal(const Parameters& p, Control& control,
                                                const Pair& pair, const Slot& slot, unsigned round,
                                                int& seen) {
  SignalPatience<V, Parameters> patience(p, slot.threshold);
  seen = poll<V>(slot.signal, slot.threshold, patience);
  if (reached<V>(seen, slot.threshold)) return true;
  if (patience.timed_out) {
    int due, acknowledged;
    const unsigned other = held_up_by<V>(p, pair, round, due, acknowledged);
    if (other < p.consumers) {
      note_fault(p, FaultKind::ACKNOWLEDGEMENT_NEVER_CAME, Role::CONSUMER, pair.index, round, due,
                 acknowledged, patience.waited_ns, other);
    } else {
      const FaultKind what = seen > slot.threshold ? FaultKind::SIGNAL_OVERSHOT
                                                   : FaultKind::THRESHOLD_NEVER_REACHED;
      note_fault(p, what, Role::CONSUMER, pair.index, round, slot.threshold, seen,
                 patience.waited_ns, pair.consumer);
    }
    stop_everyone(p);
  }
  *const_cast<volatile unsigned*>(&control.failed) = 1;
  return false;
}

// The poll and its fan-out; true in the threads that may read the tile.
template <class V>
__device__ __forceinline__ bool take_over(const Parameters& p, Control& control, const Pair& pair,
                                          const Group& group, const Slot& slot, unsigned round,
                                          unsigned tag, int& seen) {
  constexpr unsigned kWarp = 32;
  constexpr bool every = V::fan_out == FanOut::every_thread;
  constexpr bool per_warp = V::fan_out == FanOut::syncwarp;
  bool may_read = true;
  if (every || (per_warp ? group.rank % kWarp == 0 : group.rank == 0)) {
    may_read = wait_for_signal<V>(p, control, pair, slot, round, seen);
  }
  SBO_BEGIN("consumer.fan_out");
  if constexpr (V::fan_out == FanOut::cta_barrier) group.sync();
  if constexpr (per_warp) __syncwarp();
  if constexpr (V::fan_out == FanOut::unordered) {
    if (group.rank == 0) {
      if (may_read) ptx::st_relaxed_cta_shared(&control.flag, tag);
    } else {
      Patience patience(p, 2 * p.timeout_ns);
      while (ptx::ld_relaxed_cta_shared(&control.flag) != tag) {
        if (!patience.lasts(0)) {
          may_read = false;
          break;
        }
      }
    }
  }
  SBO_END("consumer.fan_out");
  if constexpr (V::fan_out == FanOut::alone) may_read = may_read && group.rank == 0;
  return may_read;
}

template <class V>
__device__ __forceinline__ void consume(const Parameters& p, Control& control, const Pair& pair,
                                        const Group& group, uint4* memory) {
  unsigned observations = 0;
  unsigned stale_tiles = 0;
  unsigned overshoots = 0;
#pragma unroll 1
  for (unsigned round = 0; round < p.rounds; ++round) {
    const unsigned tag = p.first_tag + round;
    const Slot slot = slot_of<V>(p, pair.index, round);
    if (p.prime_l1) prime_l1(slot.data, p.tile_bytes / kChunkBytes, group, control.primed);
    if (p.consumer_skew_cycles) {
      const unsigned reader = pair.consumer * kThreads * p.pairs + pair.index;
      delay(mix(p.seed ^ (2 * tag + 1 + reader * 0x9e3779b9U)) % p.consumer_skew_cycles);
    }
    int seen = -1;  // stays so in threads that did not poll themselves
    const bool may_read = take_over<V>(p, control, pair, group, slot, round, tag, seen);
    const unsigned long long signal_cycles = ptx::clock64();
    bool stale = false;
    // TMA reads take the whole group: one thread's copy, everyone's wait.
    if (may_read) {
      delay(p.delay_after_poll_cycles);
      const Check check{p, control, pair, round, tag, slot.tile, seen, signal_cycles};
      const Reader reader =
          V::fan_out == FanOut::alone ? Reader{0, 1} : Reader{group.rank, group.size};
      stale = read_tile<V>(check, slot, memory, group, reader, round & 1);
    }
    SBO_BEGIN("harness.done");
    const bool any_stale = ptx::barrier_cta_red_or(group.barrier, group.size, stale);
    SBO_END("harness.done");
    if (*const_cast<volatile unsigned*>(&control.failed) != 0) break;
    ++observations;
    stale_tiles += any_stale;
    if (group.rank == 0) {
      if (V::test != Test::equal_reused && seen > slot.threshold) {
        ++overshoots;
        note_fault(p, FaultKind::SIGNAL_OVERSHOT, Role::CONSUMER, pair.index, round, slot.threshold,
                   seen, 0, pair.consumer);
      }
      SBO_BEGIN("harness.flow");
      ptx::red_add_release<ptx::Scope::gpu>(acknowledgements_of(p, pair.index, pair.consumer), 1);
      SBO_END("harness.flow");
    }
  }
  report(p, control, pair, group, observations, stale_tiles, overshoots);
}

// ---- noise ----------------------------------------------------------------------------------

__device__ __forceinline__ bool pairs_are_running(const Parameters& p) {
  const int readers = static_cast<int>(p.pairs * p.consumers);
  return ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->finished) < readers &&
         ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->stop) == 0;
}

__device__ __forceinline__ void make_noise(const Parameters& p) {
  Noise noise(p.noise, p.noise_bytes, p.noise_kind, blockIdx.x, gridDim.x, p.seed);
  SBO_BEGIN("harness.noise");
  while (noise.wanted() && pairs_are_running(p)) noise.burst();
  SBO_END("harness.noise");
}

// ---- the kernel -----------------------------------------------------------------------------

struct Part {
  Role role;
  unsigned pair;
  unsigned consumer;
};

// Which part this CTA plays. Clusters are placed by index, single CTAs by the SM they landed on
// and the order in which they arrived there.
template <class V>
__device__ __forceinline__ Part take_part(const Parameters& p) {
  if constexpr (clustered<V>()) {
    const unsigned rank = ptx::cluster_ctarank();
    const PlaceEntry place = p.places[blockIdx.x / 2];
    return {static_cast<Role>(place.role), place.first_pair + rank, place.consumer};
  } else {
    const unsigned sm = ptx::smid();
    const unsigned ticket = sm < p.place_count ? atomicAdd(p.tickets + sm, 1U) : ~0U;
    if (ticket >= p.ctas_per_sm) {
      note_fault(p, FaultKind::NOT_PLACED, Role::IDLE, 0, 0, static_cast<int>(p.ctas_per_sm),
                 static_cast<int>(ticket), 0);
      stop_everyone(p);
      return {Role::IDLE, ~0U, 0};
    }
    const PlaceEntry place = p.places[sm];
    const Role role = static_cast<Role>(place.role);
    if (role != Role::BOTH) return {role, place.first_pair + ticket, place.consumer};
    const unsigned half = p.ctas_per_sm / 2;
    return ticket < half ? Part{Role::PRODUCER, place.first_pair + ticket, 0}
                         : Part{Role::CONSUMER, place.first_pair + ticket - half, 0};
  }
}

// The words of a pair in `pair_sms`: its producer's SM, then that of each consumer.
__device__ __forceinline__ int* sms_of(const Parameters& p, unsigned pair) {
  return reinterpret_cast<int*>(p.pair_sms + pair * (1 + p.consumers));
}

// Nobody spins on a partner before every CTA of the grid is known to be running.
__device__ __forceinline__ bool all_are_resident(const Parameters& p) {
  atomicAdd(&p.counters->arrived, 1);
  Patience patience(p, p.timeout_ns);
  const int wanted = static_cast<int>(gridDim.x);
  int seen;
  do {
    seen = ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->arrived);
  } while (seen < wanted && patience.lasts(seen));
  if (seen >= wanted) return true;
  note_fault(p, FaultKind::NOT_CO_RESIDENT, Role::IDLE, 0, 0, wanted, seen, patience.waited_ns);
  stop_everyone(p);
  return false;
}

template <class V>
__device__ __forceinline__ void signal_publish(const Parameters& p) {
  extern __shared__ __align__(128) uint4 memory[];
  __shared__ Control controls[2];
  __shared__ Part shared_part;
  __shared__ bool resident;

  constexpr bool in_one_cta = V::place == Place::producer_cta && V::poll != Poll::none;
  // Which threads belong to which half must be known to whoever reads the compiled code.
  const unsigned producers = in_one_cta ? kThreads / 2 : blockDim.x;

  SBO_BEGIN("harness.setup");
  for (unsigned i = threadIdx.x; i < 2 * sizeof(Control) / 4; i += blockDim.x) {
    reinterpret_cast<unsigned*>(controls)[i] = 0;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&controls[1].mbarrier, 1);
    ptx::fence_proxy_async_shared_cta();
    const Part part = take_part<V>(p);
    shared_part = part;
    const unsigned sm = ptx::smid();
    if (part.role == Role::PRODUCER && part.pair < p.pairs) {
      ptx::st_relaxed<ptx::Scope::gpu>(sms_of(p, part.pair), static_cast<int>(sm));
    }
    if (part.role == Role::CONSUMER && part.pair < p.pairs) {
      ptx::st_relaxed<ptx::Scope::gpu>(sms_of(p, part.pair) + 1 + part.consumer,
                                       static_cast<int>(sm));
    }
    __threadfence();
    resident = all_are_resident(p);
    __threadfence();
  }
  __syncthreads();
  const Part part = shared_part;
  Pair pair{part.pair, part.consumer, 0, 0};
  if (resident && part.pair < p.pairs) {
    const int* const sms = sms_of(p, part.pair);
    pair.producer_sm = static_cast<unsigned>(ptx::ld_relaxed<ptx::Scope::gpu>(sms));
    pair.consumer_sm =
        static_cast<unsigned>(ptx::ld_relaxed<ptx::Scope::gpu>(sms + 1 + part.consumer));
  }
  SBO_END("harness.setup");
  if (!resident) return;

  if (part.role == Role::NOISE) {
    make_noise(p);
  } else if (part.pair >= p.pairs) {
    return;
  } else if (part.role == Role::PRODUCER && threadIdx.x < producers) {
    if constexpr (V::poll == Poll::none) {
      pair.consumer_sm = pair.producer_sm;
      produce<V>(p, controls[1], pair, Group{threadIdx.x, producers, 1}, memory);
    } else {
      produce<V>(p, controls[0], pair, Group{threadIdx.x, producers, 1}, memory);
    }
  } else if (in_one_cta || part.role == Role::CONSUMER) {
    // A fault that tests inject: a consumer that does not come.
    if (static_cast<int>(part.consumer) == p.absent_consumer) return;
    if constexpr (V::poll != Poll::none) {
      const unsigned consumers = in_one_cta ? kThreads / 2 : blockDim.x;
      const unsigned first = in_one_cta ? producers : 0;
      if (in_one_cta) pair.consumer_sm = pair.producer_sm;
      uint4* const buffer =
          memory + (in_one_cta ? stage_count<V>() * (p.tile_bytes / kChunkBytes) : 0);
      consume<V>(p, controls[1], pair, Group{threadIdx.x - first, consumers, 2}, buffer);
    }
  }
}

}  // namespace sbo
