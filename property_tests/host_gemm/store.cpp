// Runs the storing threads of gemm_store.cuh one after the other, with this file in the place of the
// multiplying threads: every tile that the schedule deals out is staged with elements that say where
// they belong. `shapes.cuh` is written by the test: kernels, and the choice among them.
#include "gemm_store.cuh"

namespace sbo {
namespace gemm {

// D's element, and a scale of B: what must stand where.
inline std::uint16_t element(unsigned group, unsigned row, unsigned column) {
  return static_cast<std::uint16_t>(group * 40503U + row * 1031U + column * 7U + 1U);
}
inline float scale(unsigned group, unsigned row, unsigned k) {
  return static_cast<float>(group * 4096U + row * 64U + k);
}

template <class S, class V>
void stage_tile(unsigned char* d, const Tile& tile) {
  for (unsigned row = 0; row < S::block_m; ++row) {
    for (unsigned column = 0; column < S::block_n; ++column) {
      const std::uint16_t value = element(tile.group, tile.m_block * S::block_m + row,
                                          tile.n_block * S::block_n + column);
      std::memcpy(d + Staging<S, V>::offset(row, column / 8) + column % 8 * 2, &value, 2);
    }
  }
}

// The scales that the thread `rank` fetched, as the multiplying threads index them.
template <class S, class V>
void check_b_scales(const GemmParameters& p, const Memory<S, V>& memory, const Tile& tile,
                    unsigned turn, unsigned rank) {
  const unsigned last = ceil_div(p.n, kScaleN) - 1;
  const unsigned first = tile.n_block * S::block_n / kScaleN;
  for (unsigned k = rank; k < p.k_blocks; k += kStoreThreads) {
    for (unsigned column = 0; column < S::block_n; ++column) {
      const unsigned row = (tile.n_block * S::block_n + column) / kScaleN;
      const float found = memory.b_scales(turn)[(row - first) * p.k_blocks + k];
      world.faults += found != scale(tile.group, min(row, last), k);
    }
  }
}

template <class S, class V>
void run_thread(const GemmParameters& p, unsigned cta, unsigned ctas, unsigned rank) {
  using At = Layout<S, V>;
  std::vector<unsigned char> room(At::b_scales + 2 * kScaleRows * 4 * p.k_blocks + kAtomBytes);
  const auto begin = reinterpret_cast<std::uintptr_t>(room.data());
  const Memory<S, V> memory{room.data() + (kAtomBytes - begin % kAtomBytes), p.k_blocks};
  blockIdx.x = cta;
  gridDim.x = ctas;
  threadIdx.x = kMathThreads + kLoadThreads + rank;
  Schedule<S> schedule(p);
  unsigned turn = 0;
  world.slab_n = Staging<S, V>::slab_n;
  world.source_barrier = kSourceBarrier;
  world.stage = [&] {
    Tile tile;
    if (!schedule.next(tile)) {
      ++world.faults;
      return;
    }
    check_b_scales(p, memory, tile, turn, rank);
    stage_tile<S, V>(memory.d(turn % Staging<S, V>::copies), tile);
    ++turn;
  };
  const Group free{threadIdx.x, kMathThreads + kStoreThreads, kFreeBarrier};
  const Group source{threadIdx.x, kMathThreads + kStoreThreads, kSourceBarrier};
  store_tiles<S, V>(p, memory, free, source);
  Tile tile;
  world.faults += schedule.next(tile);
}

// All threads that store or signal, of every CTA.
template <class S, class V>
void run(const GemmParameters& p, unsigned clusters) {
  constexpr unsigned step = V::store == Store::generic ? 1 : kIssuerStride;
  for (unsigned cta = 0; cta < clusters * S::cluster; ++cta) {
    for (unsigned rank = 0; rank < kStoreThreads; rank += step) {
      run_thread<S, V>(p, cta, clusters * S::cluster, rank);
    }
  }
}

}  // namespace gemm
}  // namespace sbo

#include "shapes.cuh"

// Runs kernel number `which`; returns how many accesses were out of place. `d`, `written` and
// `signals` are zero beforehand.
extern "C" unsigned run_all(unsigned which, const int* masked, unsigned groups, unsigned m,
                            unsigned n, unsigned k_blocks, unsigned clusters, std::uint16_t* d,
                            std::uint8_t* written, int* signals) {
  using namespace sbo;
  const unsigned rows = gemm::ceil_div(n, gemm::kScaleN);
  std::vector<float> scales;
  for (unsigned group = 0; group < groups; ++group) {
    for (unsigned row = 0; row < rows; ++row) {
      for (unsigned k = 0; k < k_blocks; ++k) scales.push_back(gemm::scale(group, row, k));
    }
  }
  GemmParameters p{};
  for (unsigned bit = 0; bit < 8; ++bit) p.d_maps[bit].opaque[0] = 1U << bit;
  p.b_scales = scales.data();
  p.masked_m = masked;
  p.signals = signals;
  p.d = reinterpret_cast<unsigned char*>(d);
  p.d_pitch = 2ULL * n;
  p.groups = groups;
  p.m = m;
  p.n = n;
  p.k_blocks = k_blocks;
  world = World{d, written, groups, m, n, 0, 0, 0, {}};
  gemm::run_any(which, p, clusters);
  return world.faults;
}

extern "C" unsigned offset_any(unsigned which, unsigned row, unsigned chunk) {
  return sbo::gemm::offset_of(which, row, chunk);
}
