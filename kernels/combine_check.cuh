// Telling stale from fresh in a tile of the GEMM, 16 bytes at a time, at the moment of reading.
//
// In round r every element of D that counts is the bfloat16 number `name_of(r)`; before the round D
// was poisoned. So each element says which round wrote it.
#pragma once

#include "combine_parameters.cuh"
#include "patience.cuh"
#include "slots.cuh"

namespace sbo {
namespace combine {

constexpr unsigned kWarp = 32;
constexpr unsigned kWarps = kThreads / kWarp;

// What the threads of a CTA keep in shared memory.
struct Control {
  unsigned long long full[kWarps][kStages];
  unsigned histogram[kHistogramBins];
  unsigned stale_words;
  unsigned ahead_words;
  unsigned wrong_words;
  unsigned witnessed;
  unsigned failed;
  unsigned flag;
  unsigned primed;
};

// Names follow each other as bit patterns: 128 mantissas under each of kNames / 128 exponents.
__device__ __forceinline__ unsigned name_of(unsigned round) { return kFirstName + round % kNames; }

struct Check {
  const CombineParameters& p;
  Control& control;
  Slot slot;
  unsigned ordinal;  // of the slot among this CTA's, from 1
  unsigned round;
  unsigned word;  // two fresh elements
  int signal;
  unsigned long long signal_cycles;
};

enum class Age { fresh, stale, ahead, wrong };

__device__ __forceinline__ Age age_of(unsigned element, unsigned round) {
  if (element == kPoison) return Age::stale;
  const unsigned index = element - kFirstName;
  if (index >= kNames) return Age::wrong;
  const unsigned behind = (round - index) % kNames;
  return behind == 0 ? Age::fresh : behind < kNames / 2 ? Age::stale : Age::ahead;
}

// Of two elements the one that says more: stale before wrong before ahead.
__device__ __forceinline__ Age age_of_word(unsigned word, unsigned round) {
  const Age low = age_of(word & 0xffffU, round);
  const Age high = age_of(word >> 16, round);
  if (low == Age::stale || high == Age::stale) return Age::stale;
  if (low == Age::wrong || high == Age::wrong) return Age::wrong;
  return low == Age::ahead || high == Age::ahead ? Age::ahead : Age::fresh;
}

__device__ __forceinline__ void note_witness(const Check& c, unsigned row, unsigned column,
                                             unsigned seen) {
  const unsigned index = atomicAdd(&c.p.counters->witnesses, 1U);
  if (index >= c.p.witness_capacity) return;
  SlotWitness& w = c.p.witnesses[index];
  w.round = c.round;
  w.group = c.slot.group;
  w.slot = c.slot.signal;
  w.row = row;
  w.column = column;
  w.expected = c.word;
  w.seen = seen;
  w.signal = c.signal;
  w.sm = ptx::smid();
  w.cycles_since_signal = ptx::clock64() - c.signal_cycles;
}

// The rare path: some word of this chunk is not this round's. `chunk` counts from the slot's first
// row. True if it is stale.
__device__ __forceinline__ bool note_chunk(const Check& c, unsigned chunk, uint4 v) {
  SBO_BEGIN("harness.count");
  const unsigned words[4] = {v.x, v.y, v.z, v.w};
  unsigned stale = 0, ahead = 0, wrong = 0, first = 0;
  for (unsigned i = 0; i < 4; ++i) {
    Age age = age_of_word(words[i], c.round);
    if (age == Age::wrong && c.p.wrong_is_stale) age = Age::stale;
    if (age == Age::stale && stale == 0) first = i;
    stale += age == Age::stale;
    ahead += age == Age::ahead;
    wrong += age == Age::wrong;
  }
  // After a failed poll there was no hand-over, so whatever is read says nothing.
  const bool counts = *const_cast<volatile unsigned*>(&c.control.failed) == 0;
  if (counts) {
    const unsigned per_row = c.p.row_bytes / kChunkBytes;
    const unsigned in_row = chunk % per_row;
    if (stale) atomicAdd(&c.control.histogram[in_row * kHistogramBins / per_row], stale);
    atomicAdd(&c.control.stale_words, stale);
    atomicAdd(&c.control.ahead_words, ahead);
    atomicAdd(&c.control.wrong_words, wrong);
    if (stale && atomicExch(&c.control.witnessed, c.ordinal) != c.ordinal) {
      note_witness(c, chunk / per_row, in_row * (kChunkBytes / 2) + first * 2, words[first]);
    }
  }
  SBO_END("harness.count");
  return counts && stale != 0;
}

__device__ __forceinline__ bool check_chunk(const Check& c, unsigned chunk, uint4 v) {
  const unsigned odd = (v.x ^ c.word) | (v.y ^ c.word) | (v.z ^ c.word) | (v.w ^ c.word);
  return odd != 0 && note_chunk(c, chunk, v);
}

}  // namespace combine
}  // namespace sbo
