// Which slots a consumer CTA takes: block_m rows of one group, counted over all groups in order.
//
// The prefix sum over ceil(received[group] / block_m) is carried along instead of stored, so that
// any number of groups will do. CTA `c` of `n` takes the slots c, c + n, c + 2n, ...: a producer
// finishes them about in this order. A test compiles this file for the host and compares it with the
// same sum in Python.
#pragma once

#include "ptx.cuh"

namespace sbo {
namespace combine {

struct Slot {
  unsigned group;
  unsigned m_block;
  unsigned rows;    // that count
  unsigned signal;  // its index
};

class Slots {
 public:
  __device__ __forceinline__ Slots(const int* received, unsigned groups, unsigned m,
                                   unsigned block_m, unsigned cta, unsigned ctas)
      : received_(received),
        groups_(groups),
        block_m_(block_m),
        blocks_((m + block_m - 1) / block_m),
        index_(cta),
        step_(ctas) {}

  // False when this CTA has no more.
  __device__ __forceinline__ bool next(Slot& slot) {
    SBO_BEGIN("harness.slots");
    bool found = false;
    for (; group_ < groups_; ++group_) {
      const unsigned rows = static_cast<unsigned>(__ldg(received_ + group_));
      const unsigned count = (rows + block_m_ - 1) / block_m_;
      if (index_ < first_ + count) {
        slot.group = group_;
        slot.m_block = index_ - first_;
        slot.rows = min(rows - slot.m_block * block_m_, block_m_);
        slot.signal = group_ * blocks_ + slot.m_block;
        index_ += step_;
        found = true;
        break;
      }
      first_ += count;
    }
    SBO_END("harness.slots");
    return found;
  }

 private:
  const int* received_;
  unsigned groups_;
  unsigned block_m_;
  unsigned blocks_;  // signals of one group
  unsigned index_;
  unsigned step_;
  unsigned group_ = 0;
  unsigned first_ = 0;  // slot of `group_`
};

}  // namespace combine
}  // namespace sbo
