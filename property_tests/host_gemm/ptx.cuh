// What the GEMM's storing threads and its schedule need of CUDA and PTX, for a host compiler.
//
// One thread of one CTA runs at a time: barriers order nothing, and the one at which the multiplying
// threads hand a tile over calls `world.stage`, which puts it there. Copies happen when they are
// issued, and every byte that reaches D is counted.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#define __device__
#define __forceinline__ inline
#define SBO_BEGIN(SITE)
#define SBO_END(SITE)

using std::max;
using std::min;

struct uint4 {
  unsigned x, y, z, w;
};
struct Index {
  unsigned x;
};
inline Index threadIdx, blockIdx, gridDim;

template <class T>
T __ldg(const T* at) {
  return *at;
}
inline int __clz(unsigned value) { return value == 0 ? 32 : __builtin_clz(value); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void atomicAdd(int* address, int value) { *address += value; }
inline void atomicAdd_block(int*, int) {}
inline void atomicAdd_system(int*, int) {}

namespace sbo {

struct alignas(64) TensorMap {
  unsigned long long opaque[16];  // here the rows of a box
};

// D and its surroundings, as the copies see them.
struct World {
  std::uint16_t* d;
  std::uint8_t* written;  // how often each element was
  unsigned groups, m, n, slab_n, source_barrier;
  unsigned faults = 0;
  std::function<void()> stage;

  void write(std::uint16_t* to, std::uint16_t value) {
    const std::ptrdiff_t at = to - d;
    const auto size = static_cast<std::ptrdiff_t>(groups) * m * n;
    if (at < 0 || at >= size) {
      ++faults;
    } else {
      *to = value;
      ++written[at];
    }
  }
};
inline World world;

namespace ptx {

enum class Scope { cta, cluster, gpu, sys };

inline void barrier_cta_sync(unsigned barrier, unsigned) {
  if (barrier == world.source_barrier) world.stage();
}

// Source: CUDA C++ Programming Guide, "Tensor Memory Access", swizzle modes: the bits of the 16-byte
// piece are exchanged with those of the 128-byte line. What lies outside the tensor is left out.
inline void cp_async_bulk_tensor_3d_store(const TensorMap* map, int x, int y, int z,
                                          const void* source) {
  const auto from = reinterpret_cast<std::uintptr_t>(source);
  const std::uintptr_t mask = world.slab_n == 64 ? 7 : 3;
  world.faults += from % 128 != 0;
  for (unsigned row = 0; row < map->opaque[0]; ++row) {
    for (unsigned column = 0; column < world.slab_n; ++column) {
      const unsigned long long m = y + row, n = x + column;
      if (static_cast<unsigned>(z) >= world.groups || m >= world.m || n >= world.n) continue;
      const std::uintptr_t plain = from + (row * world.slab_n + column) * 2;
      const std::uintptr_t at = plain ^ ((plain >> 7 & mask) << 4);
      world.write(world.d + (z * 1ULL * world.m + m) * world.n + n,
                  *reinterpret_cast<const std::uint16_t*>(at));
    }
  }
}

inline void write_bytes(void* destination, const void* source, unsigned bytes) {
  const auto* const from = static_cast<const std::uint16_t*>(source);
  world.faults += reinterpret_cast<std::uintptr_t>(source) % 16 != 0 || bytes % 16 != 0;
  for (unsigned i = 0; i < bytes / 2; ++i) {
    world.write(static_cast<std::uint16_t*>(destination) + i, from[i]);
  }
}

inline void cp_async_bulk_store(void* destination, const void* source, unsigned bytes) {
  write_bytes(destination, source, bytes);
}
inline void st_weak_v4(uint4* destination, const uint4& value) {
  write_bytes(destination, &value, sizeof value);
}
inline uint4 ld_weak_shared_v4(const uint4* address) { return *address; }

template <Scope>
void red_add_relaxed(int* address, int value) {
  *address += value;
}
template <Scope>
void red_add_release(int* address, int value) {
  *address += value;
}
template <Scope>
void atom_add_release(int* address, int value) {
  *address += value;
}

// Order alone, or of no use to the variants that are run here.
template <unsigned>
void cp_async_bulk_wait_group() {}
template <unsigned>
void cp_async_bulk_wait_group_read() {}
template <Scope>
void fence_acq_rel() {}
inline void cp_async_bulk_commit_group() {}
inline void fence_proxy_async_shared_cta() {}
inline void barrier_cluster_arrive_release() {}
inline void barrier_cluster_arrive_relaxed() {}
inline void barrier_cluster_wait_acquire() {}
template <Scope>
void st_release(int*, int) {}
template <Scope>
void st_relaxed(int*, int) {}
inline void st_volatile(int*, int) {}
template <Scope>
int ld_acquire(const int*) { return 0; }
template <Scope>
int ld_relaxed(const int*) { return 0; }
inline int ld_volatile(const int*) { return 0; }
inline int ld_weak(const int*) { return 0; }
inline uint4 ld_weak_v4(const uint4*) { return {}; }
inline uint4 ld_relaxed_gpu_v4(const uint4*) { return {}; }
inline uint4 ld_nc_v4(const uint4*) { return {}; }

}  // namespace ptx
}  // namespace sbo
