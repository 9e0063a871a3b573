// Which tiles a CTA computes: every tile of every group's first masked_m[g] rows, once.
//
// A unit is what the CTAs of one cluster do at the same time, dealt out in turn. Two CTAs of a cluster
// take two m-blocks of the same columns and share B; the last m-block of an odd number is cut into
// pairs of n-blocks, which share A. Of an odd number of those the last pair has a ghost: a tile
// behind the last column, computed from zeros and neither stored nor signalled.
#pragma once

#include "gemm_shape.cuh"

namespace sbo {
namespace gemm {

struct Tile {
  unsigned group;
  unsigned m_block;
  unsigned n_block;
  unsigned rows;        // that are stored
  bool shares_b;        // with the other CTA of the cluster; else A is shared
  bool ghost;
};

template <class S>
class Schedule {
 public:
  __device__ __forceinline__ explicit Schedule(const GemmParameters& parameters)
      : p_(parameters),
        unit_(blockIdx.x / S::cluster),
        units_(gridDim.x / S::cluster),
        rank_(S::cluster == 1 ? 0 : blockIdx.x % S::cluster),
        n_blocks_(ceil_div(parameters.n, S::block_n)) {}

  // False when this CTA has nothing left to do.
  __device__ __forceinline__ bool next(Tile& tile) {
    SBO_BEGIN("harness.schedule");
    bool found = false;
    for (; group_ < p_.groups; ++group_) {
      // The host may have been told not to look: a mask out of range must not reach other memory.
      const int masked = min(__ldg(p_.masked_m + group_), static_cast<int>(p_.m));
      const unsigned rows = static_cast<unsigned>(max(masked, 0));
      const unsigned m_blocks = ceil_div(rows, S::block_m);
      const unsigned count = units_of(m_blocks);
      if (unit_ < first_ + count) {
        place(tile, unit_ - first_, m_blocks);
        tile.group = group_;
        tile.rows = min(rows - tile.m_block * S::block_m, S::block_m);
        tile.ghost = tile.n_block >= n_blocks_;
        unit_ += units_;
        found = true;
        break;
      }
      first_ += count;
    }
    SBO_END("harness.schedule");
    return found;
  }

 private:
  __device__ __forceinline__ unsigned units_of(unsigned m_blocks) const {
    if constexpr (S::cluster == 1) return m_blocks * n_blocks_;
    return m_blocks / 2 * n_blocks_ + (m_blocks % 2) * ceil_div(n_blocks_, 2);
  }

  // m first, so that CTAs that run together read the same part of B.
  __device__ __forceinline__ void place(Tile& tile, unsigned unit, unsigned m_blocks) const {
    if constexpr (S::cluster == 1) {
      tile.shares_b = false;
      tile.m_block = unit % m_blocks;
      tile.n_block = unit / m_blocks;
    } else {
      const unsigned pairs = m_blocks / 2;
      tile.shares_b = unit < pairs * n_blocks_;
      if (tile.shares_b) {
        tile.m_block = unit % pairs * 2 + rank_;
        tile.n_block = unit / pairs;
      } else {
        tile.m_block = m_blocks - 1;
        tile.n_block = (unit - pairs * n_blocks_) * 2 + rank_;
      }
    }
  }

  const GemmParameters& p_;
  unsigned unit_;
  unsigned units_;
  unsigned rank_;
  unsigned n_blocks_;
  unsigned group_ = 0;
  unsigned first_ = 0;  // unit of `group_`
};

}  // namespace gemm
}  // namespace sbo
