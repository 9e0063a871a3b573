// Combine Send: a few CTAs that take finished rows from a producer's output and send them on.
//
// They run beside the producer. For each slot of block_m rows they wait until its signal reaches the
// threshold, then read its rows and write them to their destination. How they wait, hand the news on
// and read is the variant's consumer half, by the policies of signal.cuh. With `check` set, every
// 16 bytes are compared with what this round must have written (combine_check.cuh).
//
// One CTA fills an SM's shared memory, and nobody spins before all are known to run (rounds.cuh has
// the gate that holds the producer until then).
#pragma once

#include "combine_check.cuh"
#include "tma.cuh"

namespace sbo {
namespace combine {

constexpr unsigned kLoadsInFlight = 4;
// Pieces on their way into shared memory while an older one is checked and sent.
constexpr unsigned kLag = kStages - 2;

__device__ __forceinline__ unsigned long long first_byte(const CombineParameters& p,
                                                         const Slot& slot) {
  return (static_cast<unsigned long long>(slot.group) * p.m + slot.m_block * p.block_m) *
         p.row_bytes;
}

__device__ __forceinline__ unsigned placed(const CombineParameters& p, unsigned step,
                                           unsigned count) {
  return p.read_order == static_cast<unsigned>(ReadOrder::TAIL_FIRST) ? count - 1 - step : step;
}

// Who of a CTA reads: all threads, or one.
struct Reader {
  unsigned rank;
  unsigned count;
};

// A slot's rows follow each other in memory, so that its chunks are counted through.
template <class V>
__device__ __forceinline__ bool read_by_loads(const Check& c, const Reader& reader) {
  const unsigned long long first = first_byte(c.p, c.slot);
  const uint4* const source = reinterpret_cast<const uint4*>(c.p.d + first);
  uint4* const target = reinterpret_cast<uint4*>(c.p.destination + first);
  const unsigned chunks = c.slot.rows * (c.p.row_bytes / kChunkBytes);
  bool stale = false;
#pragma unroll 1
  for (unsigned base = reader.rank; base < chunks; base += reader.count * kLoadsInFlight) {
    uint4 v[kLoadsInFlight];
#pragma unroll
    for (unsigned i = 0; i < kLoadsInFlight; ++i) {
      const unsigned step = base + i * reader.count;
      if (step < chunks) v[i] = read_global<V>(source + placed(c.p, step, chunks));
    }
#pragma unroll
    for (unsigned i = 0; i < kLoadsInFlight; ++i) {
      const unsigned step = base + i * reader.count;
      if (step < chunks) {
        const unsigned chunk = placed(c.p, step, chunks);
        if (c.p.check) stale |= check_chunk(c, chunk, v[i]);
        SBO_BEGIN("harness.send");
        ptx::st_weak_v4(target + chunk, v[i]);
        SBO_END("harness.send");
      }
    }
  }
  return stale;
}

// A part of one row that one bulk copy brings.
struct Piece {
  unsigned offset;  // bytes from the slot's first row
  unsigned bytes;
};

__device__ __forceinline__ Piece piece_of(const CombineParameters& p, const Slot& slot,
                                          unsigned step) {
  const unsigned parts = (p.row_bytes + kPieceBytes - 1) / kPieceBytes;
  const unsigned index = placed(p, step, slot.rows * parts);
  const unsigned begin = index % parts * kPieceBytes;
  return {index / parts * p.row_bytes + begin, min(p.row_bytes - begin, kPieceBytes)};
}

// One warp's stages, and how many pieces have passed through them.
struct Stages {
  unsigned char* memory;
  unsigned long long* full;
  unsigned passed;

  __device__ __forceinline__ unsigned char* at(unsigned piece) const {
    return memory + (passed + piece) % kStages * kPieceBytes;
  }
  __device__ __forceinline__ unsigned long long* barrier(unsigned piece) const {
    return full + (passed + piece) % kStages;
  }
  __device__ __forceinline__ unsigned parity(unsigned piece) const {
    return (passed + piece) / kStages & 1;
  }
};

__device__ __forceinline__ bool wait_for_piece(const Check& c, const Stages& stages,
                                               unsigned piece) {
  Patience patience(c.p, c.p.timeout_ns);
  while (!ptx::mbarrier_try_wait_acquire(stages.barrier(piece), stages.parity(piece))) {
    if (!patience.lasts(0)) {
      if (patience.timed_out) {
        note_fault(c.p, FaultKind::COPY_NEVER_COMPLETED, Role::CONSUMER, c.slot.signal, c.round, 1,
                   0, patience.waited_ns);
        stop_everyone(c.p);
      }
      *const_cast<volatile unsigned*>(&c.control.failed) = 1;
      return false;
    }
  }
  return true;
}

// Whether all lanes of the warp say so. Lanes that send together wait for each other: one that had
// given up by itself would be waited for without end. A vote orders no memory.
__device__ __forceinline__ bool agreed(bool mine) {
  return __all_sync(0xffffffffU, mine) != 0;
}

// Each warp brings its pieces in stages, checks them, and sends them on from there. The issuing lane
// is never one that polled alone for its warp, unless it reads alone.
template <class V>
__device__ __forceinline__ bool read_by_tma(const Check& c, const Reader& reader, Stages& stages) {
  constexpr bool alone = V::fan_out == FanOut::alone;
  constexpr unsigned lanes = alone ? 1 : kWarp;
  const unsigned lane = alone ? 0 : reader.rank % kWarp;
  const unsigned warp = reader.rank / kWarp;
  const unsigned warps = alone ? 1 : reader.count / kWarp;
  const bool issues = lane == lanes - 1;
  const unsigned long long first = first_byte(c.p, c.slot);
  const unsigned pieces = c.slot.rows * ((c.p.row_bytes + kPieceBytes - 1) / kPieceBytes);
  const unsigned mine = pieces > warp ? (pieces - warp + warps - 1) / warps : 0;
  bool stale = false;
  if (issues && V::read == Read::tma_after_fence) ptx::fence_proxy_async();
#pragma unroll 1
  for (unsigned step = 0; step < mine + kLag; ++step) {
    if (step < mine && issues) {
      SBO_BEGIN("harness.reuse");
      ptx::cp_async_bulk_wait_group_read<kStages - kLag - 1>();
      SBO_END("harness.reuse");
      const Piece piece = piece_of(c.p, c.slot, warp + step * warps);
      ptx::mbarrier_arrive_expect_tx(stages.barrier(step), piece.bytes);
      ptx::cp_async_bulk_load(stages.at(step), c.p.d + first + piece.offset, piece.bytes,
                              stages.barrier(step));
    }
    if (step < kLag) continue;
    const unsigned done = step - kLag;
    const bool came = wait_for_piece(c, stages, done);
    if (!(alone ? came : agreed(came))) break;
    const Piece piece = piece_of(c.p, c.slot, warp + done * warps);
    if (c.p.check) {
      const uint4* const brought = reinterpret_cast<const uint4*>(stages.at(done));
#pragma unroll 1
      for (unsigned i = lane; i < piece.bytes / kChunkBytes; i += lanes) {
        stale |= check_chunk(c, piece.offset / kChunkBytes + i, ptx::ld_weak_shared_v4(brought + i));
      }
    }
    SBO_BEGIN("harness.send");
    if (lanes > 1) __syncwarp();  // all lanes have read the piece before its stage is filled again
    if (issues) {
      ptx::cp_async_bulk_store(c.p.destination + first + piece.offset, stages.at(done), piece.bytes);
      ptx::cp_async_bulk_commit_group();
    }
    SBO_END("harness.send");
  }
  stages.passed += mine;
  return stale;
}

// What the polling thread learnt: the last value, and whether it ever had to wait for it.
struct Seen {
  int signal = -1;  // stays so in threads that did not poll themselves
  bool waited = false;
};

// One thread's wait for the signal. False when it gave up.
template <class V>
__device__ __forceinline__ bool wait_for_signal(const CombineParameters& p, Control& control,
                                                const Slot& slot, unsigned round, Seen& seen) {
  SignalPatience<V, CombineParameters> patience(p, p.threshold);
  seen.signal = poll<V>(p.signals + slot.signal, p.threshold, patience);
  seen.waited = patience.polls != 0;
  if (reached<V>(seen.signal, p.threshold)) return true;
  if (patience.timed_out) {
    const FaultKind what = seen.signal > p.threshold ? FaultKind::SIGNAL_OVERSHOT
                                                     : FaultKind::THRESHOLD_NEVER_REACHED;
    note_fault(p, what, Role::CONSUMER, slot.signal, round, p.threshold, seen.signal,
               patience.waited_ns);
    stop_everyone(p);
  }
  *const_cast<volatile unsigned*>(&control.failed) = 1;
  return false;
}

// The poll and its fan-out; true in the threads that may read the slot.
template <class V>
__device__ __forceinline__ bool take_over(const CombineParameters& p, Control& control,
                                          const Group& group, const Slot& slot, unsigned round,
                                          unsigned ordinal, Seen& seen) {
  constexpr bool every = V::fan_out == FanOut::every_thread;
  constexpr bool per_warp = V::fan_out == FanOut::syncwarp;
  bool may_read = true;
  if (every || (per_warp ? group.rank % kWarp == 0 : group.rank == 0)) {
    may_read = wait_for_signal<V>(p, control, slot, round, seen);
  }
  SBO_BEGIN("consumer.fan_out");
  if constexpr (V::fan_out == FanOut::cta_barrier) group.sync();
  if constexpr (per_warp) __syncwarp();
  if constexpr (V::fan_out == FanOut::unordered) {
    if (group.rank == 0) {
      if (may_read) ptx::st_relaxed_cta_shared(&control.flag, ordinal);
    } else {
      Patience patience(p, 2 * p.timeout_ns);
      while (ptx::ld_relaxed_cta_shared(&control.flag) != ordinal) {
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

// Counts of one CTA, added to the launch's.
struct Counts {
  unsigned observations = 0;
  unsigned stale_tiles = 0;
  unsigned waited = 0;
  unsigned rows = 0;
};

__device__ __forceinline__ void report(const CombineParameters& p, const Control& control,
                                       const Group& group, const Counts& counts) {
  SBO_BEGIN("harness.report");
  group.sync();
  CombineCounters& all = *p.counters;
  for (unsigned bin = group.rank; bin < kHistogramBins; bin += group.size) {
    const unsigned long long stale = control.histogram[bin];
    if (stale) atomicAdd(&all.histogram[bin], stale);
  }
  if (group.rank == 0) {
    atomicAdd(&all.observations, static_cast<unsigned long long>(counts.observations));
    atomicAdd(&all.stale_tiles, static_cast<unsigned long long>(counts.stale_tiles));
    atomicAdd(&all.waited, static_cast<unsigned long long>(counts.waited));
    atomicAdd(&all.rows, static_cast<unsigned long long>(counts.rows));
    atomicAdd(&all.stale_words, static_cast<unsigned long long>(control.stale_words));
    atomicAdd(&all.ahead_words, static_cast<unsigned long long>(control.ahead_words));
    atomicAdd(&all.wrong_words, static_cast<unsigned long long>(control.wrong_words));
  }
  SBO_END("harness.report");
}

template <class V>
__device__ __forceinline__ void consume(const CombineParameters& p, Control& control,
                                        const Group& group, unsigned round,
                                        unsigned char* memory) {
  const unsigned warp = group.rank / kWarp;
  Stages stages{memory + warp * kStages * kPieceBytes, control.full[warp], 0};
  Slots slots(p.received, p.groups, p.m, p.block_m, blockIdx.x, p.consumers);
  Counts counts;
  Slot slot;
#pragma unroll 1
  for (unsigned ordinal = 1; slots.next(slot); ++ordinal) {
    if (p.prime_l1) {
      prime_l1(reinterpret_cast<const uint4*>(p.d + first_byte(p, slot)),
               slot.rows * (p.row_bytes / kChunkBytes), group, control.primed);
    }
    if (p.consumer_skew_cycles) {
      delay(mix(p.seed ^ (round * 0x9e3779b9U + slot.signal)) % p.consumer_skew_cycles);
    }
    Seen seen;
    bool may_read = take_over<V>(p, control, group, slot, round, ordinal, seen);
    if constexpr (reads_by_tma<V>() && V::fan_out != FanOut::alone) may_read = agreed(may_read);
    const unsigned long long signal_cycles = ptx::clock64();
    bool stale = false;
    if (may_read) {
      delay(p.delay_after_poll_cycles);
      const unsigned name = name_of(round);
      const Check check{p, control, slot, ordinal, round, name << 16 | name, seen.signal,
                        signal_cycles};
      const Reader reader =
          V::fan_out == FanOut::alone ? Reader{0, 1} : Reader{group.rank, group.size};
      SBO_BEGIN("consumer.read");
      if constexpr (reads_by_tma<V>()) {
        stale = read_by_tma<V>(check, reader, stages);
      } else {
        stale = read_by_loads<V>(check, reader);
      }
      SBO_END("consumer.read");
    }
    SBO_BEGIN("harness.done");
    const bool any_stale = ptx::barrier_cta_red_or(group.barrier, group.size, stale);
    SBO_END("harness.done");
    if (*const_cast<volatile unsigned*>(&control.failed) != 0) break;
    ++counts.observations;
    counts.stale_tiles += any_stale;
    counts.waited += seen.waited;
    counts.rows += slot.rows;
    if (group.rank == 0 && seen.signal > p.threshold) {
      note_fault(p, FaultKind::SIGNAL_OVERSHOT, Role::CONSUMER, slot.signal, round, p.threshold,
                 seen.signal, 0);
    }
  }
  if constexpr (reads_by_tma<V>()) {
    // Shared memory must outlive the copy engine's reading of it.
    SBO_BEGIN("harness.reuse");
    ptx::cp_async_bulk_wait_group_read<0>();
    SBO_END("harness.reuse");
  }
  report(p, control, group, counts);
}

// Waits, for a bounded time, until `wanted` CTAs have counted themselves.
__device__ __forceinline__ bool all_run(const CombineParameters& p, const int* counted,
                                        unsigned wanted, unsigned round) {
  Patience patience(p, p.timeout_ns);
  const int all = static_cast<int>(wanted);
  int seen;
  do {
    seen = ptx::ld_relaxed<ptx::Scope::gpu>(counted);
  } while (seen < all && patience.lasts(seen));
  if (seen >= all) return true;
  if (patience.timed_out) {
    note_fault(p, FaultKind::NOT_CO_RESIDENT, Role::IDLE, 0, round, all, seen, patience.waited_ns);
    stop_everyone(p);
  }
  return false;
}

}  // namespace combine

template <class V>
__device__ __forceinline__ void combine_send(const CombineParameters& p) {
  using namespace combine;
  static_assert(V::poll != Poll::none && V::place == Place::other_sm, "a consumer of its own");
  extern __shared__ __align__(128) unsigned char dynamic_memory[];
  __shared__ Control control;
  __shared__ unsigned shared_round;
  __shared__ bool resident;

  SBO_BEGIN("harness.setup");
  for (unsigned i = threadIdx.x; i < sizeof(Control) / 4; i += blockDim.x) {
    reinterpret_cast<unsigned*>(&control)[i] = 0;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (unsigned i = 0; i < kWarps * kStages; ++i) ptx::mbarrier_init(&control.full[0][i], 1);
    ptx::fence_proxy_async_shared_cta();
    shared_round = static_cast<unsigned>(ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->round));
    resident = ptx::ld_relaxed<ptx::Scope::gpu>(&p.counters->stop) == 0;
    if (resident) {
      atomicAdd(&p.counters->arrived, 1);
      resident = all_run(p, &p.counters->arrived, p.consumers, shared_round);
    }
  }
  __syncthreads();
  const unsigned round = shared_round;
  SBO_END("harness.setup");
  if (resident) consume<V>(p, control, Group{threadIdx.x, kThreads, 1}, round, dynamic_memory);
}

}  // namespace sbo
