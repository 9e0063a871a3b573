// The sites of the protocol `signal_publish` as policies: a variant `V` names one choice for each.
//
// The micro-kernel and the GEMM both take their hand-over from this file, so that what is shown of
// one is true of the other because it is the same text. The enumerators (Store, Drain, ...) come
// from `sites.cuh`, which the build writes from the Python declaration of the protocol.
//
// A thread group hands over and takes over together: `Group` says who is in it.
#pragma once

#include "ptx.cuh"
#include "sites.cuh"

namespace sbo {

// Threads of a CTA that act as one producer or one consumer; `barrier` is theirs alone. In the GEMM
// the threads that store a tile are the producer, and `source_join` joins them with those that made it.
struct Group {
  unsigned rank;
  unsigned size;
  unsigned barrier;

  __device__ __forceinline__ void sync() const { ptx::barrier_cta_sync(barrier, size); }
};

// Issuing threads are of different warps, so that no warp reconvergence orders one's store before
// the other's signal.
constexpr unsigned kIssuerStride = 32;
constexpr unsigned kOtherWarpPublisher = 64;

constexpr ptx::Scope ptx_scope(SignalScope scope) {
  return scope == SignalScope::cta       ? ptx::Scope::cta
         : scope == SignalScope::cluster ? ptx::Scope::cluster
         : scope == SignalScope::gpu     ? ptx::Scope::gpu
                                         : ptx::Scope::sys;
}

template <class V>
constexpr unsigned issuer_count() {
  return V::issuers == Issuers::one ? 1 : 2;
}

template <class V>
constexpr bool clustered() {
  return V::join == Join::cluster_barrier || V::join == Join::cluster_relaxed;
}

template <class V>
constexpr bool newest_pending() {
  return V::drain == Drain::full_but_newest || V::drain == Drain::read_but_newest;
}

// Shared-memory buffers that the producer needs: one more when the newest store may be pending.
template <class V>
constexpr unsigned stage_count() {
  return newest_pending<V>() ? 2 : 1;
}

template <class V>
__device__ __forceinline__ bool is_issuer(const Group& group) {
  return group.rank % kIssuerStride == 0 && group.rank / kIssuerStride < issuer_count<V>();
}

template <class V>
__device__ __forceinline__ bool is_publisher(const Group& group) {
  return group.rank == (V::publisher == Publisher::other_warp ? kOtherWarpPublisher : 0);
}

// ---- producer -------------------------------------------------------------------------------

template <class V>
__device__ __forceinline__ void order_source() {
  if constexpr (V::source_fence == SourceFence::proxy_async) ptx::fence_proxy_async_shared_cta();
}

template <class V>
__device__ __forceinline__ void source_fence() {
  SBO_BEGIN("producer.source_fence");
  order_source<V>();
  SBO_END("producer.source_fence");
}

__device__ __forceinline__ void source_join(const Group& group) {
  SBO_BEGIN("producer.source_join");
  group.sync();
  SBO_END("producer.source_join");
}

// Only the threads that issued a store have groups to wait for.
template <Drain D>
__device__ __forceinline__ void wait_for_groups() {
  if constexpr (D == Drain::full) ptx::cp_async_bulk_wait_group<0>();
  if constexpr (D == Drain::read) ptx::cp_async_bulk_wait_group_read<0>();
  if constexpr (D == Drain::full_but_newest) ptx::cp_async_bulk_wait_group<1>();
  if constexpr (D == Drain::read_but_newest) ptx::cp_async_bulk_wait_group_read<1>();
}

template <class V>
__device__ __forceinline__ void drain(const Group& group) {
  if (is_issuer<V>(group)) {
    SBO_BEGIN("producer.drain");
    wait_for_groups<V::drain>();
    SBO_END("producer.drain");
  }
}

// The last tile's wait, for a signal that was deferred: nothing may stay pending.
template <class V>
__device__ __forceinline__ void flush(const Group& group) {
  constexpr Drain all = V::drain == Drain::full_but_newest   ? Drain::full
                        : V::drain == Drain::read_but_newest ? Drain::read
                                                             : V::drain;
  if (is_issuer<V>(group)) {
    SBO_BEGIN("producer.flush");
    wait_for_groups<all>();
    SBO_END("producer.flush");
  }
}

template <class V>
__device__ __forceinline__ void join(const Group& group) {
  SBO_BEGIN("producer.join");
  if constexpr (V::join == Join::cta_barrier) group.sync();
  if constexpr (V::join == Join::cluster_barrier) ptx::barrier_cluster_arrive_release();
  if constexpr (V::join == Join::cluster_relaxed) ptx::barrier_cluster_arrive_relaxed();
  if constexpr (clustered<V>()) ptx::barrier_cluster_wait_acquire();
  SBO_END("producer.join");
}

template <ptx::Scope S>
__device__ __forceinline__ void threadfence() {
  if constexpr (S == ptx::Scope::cta) __threadfence_block();
  if constexpr (S == ptx::Scope::gpu) __threadfence();
  if constexpr (S == ptx::Scope::sys) __threadfence_system();
}

template <ptx::Scope S>
__device__ __forceinline__ void atomic_add(int* address, int value) {
  if constexpr (S == ptx::Scope::cta) atomicAdd_block(address, value);
  if constexpr (S == ptx::Scope::gpu) atomicAdd(address, value);
  if constexpr (S == ptx::Scope::sys) atomicAdd_system(address, value);
}

// <cuda/atomic> costs a second of compile time, so only the variants that are about it include it.
#ifdef SBO_ATOMIC_REF
template <ptx::Scope S>
using AtomicRef = cuda::atomic_ref<int, S == ptx::Scope::cta   ? cuda::thread_scope_block
                                        : S == ptx::Scope::gpu ? cuda::thread_scope_device
                                                               : cuda::thread_scope_system>;
#endif

// Executed by the publishing thread alone. `threshold` is what a plain store writes.
template <class V>
__device__ __forceinline__ void publish(int* signal, int increment, int threshold) {
  constexpr ptx::Scope S = ptx_scope(V::publish_scope);
  SBO_BEGIN("producer.publish");
  if constexpr (V::publish == Publish::red_relaxed) ptx::red_add_relaxed<S>(signal, increment);
  if constexpr (V::publish == Publish::fence_sc_atomic_add) {
    threadfence<S>();
    atomic_add<S>(signal, increment);
  }
  if constexpr (V::publish == Publish::fence_acq_rel_red) {
    ptx::fence_acq_rel<S>();
    ptx::red_add_relaxed<S>(signal, increment);
  }
  if constexpr (V::publish == Publish::red_release) ptx::red_add_release<S>(signal, increment);
  if constexpr (V::publish == Publish::atom_release) ptx::atom_add_release<S>(signal, increment);
#ifdef SBO_ATOMIC_REF
  if constexpr (V::publish == Publish::atomic_ref_release)
    AtomicRef<S>(*signal).fetch_add(increment, cuda::memory_order_release);
#endif
  if constexpr (V::publish == Publish::st_release) ptx::st_release<S>(signal, threshold);
  if constexpr (V::publish == Publish::st_relaxed) ptx::st_relaxed<S>(signal, threshold);
  if constexpr (V::publish == Publish::st_volatile) ptx::st_volatile(signal, threshold);
  SBO_END("producer.publish");
}

// ---- consumer -------------------------------------------------------------------------------

template <class V>
__device__ __forceinline__ bool reached(int seen, int threshold) {
  return V::test == Test::at_least ? seen >= threshold : seen == threshold;
}

template <class V>
__device__ __forceinline__ int load_signal(int* signal) {
  constexpr ptx::Scope S = ptx_scope(V::poll_scope);
  if constexpr (V::poll == Poll::ld_relaxed || V::poll == Poll::ld_relaxed_fence) {
    return ptx::ld_relaxed<S>(signal);
  } else if constexpr (V::poll == Poll::ld_volatile) {
    return ptx::ld_volatile(signal);
  } else if constexpr (V::poll == Poll::atomic_ref_acquire) {
#ifdef SBO_ATOMIC_REF
    return AtomicRef<S>(*signal).load(cuda::memory_order_acquire);
#endif
  } else {
    return ptx::ld_acquire<S>(signal);
  }
}

// Spins until the signal passes the test or `patience` ends; returns the last value seen.
template <class V, class Patience>
__device__ __forceinline__ int poll(int* signal, int threshold, Patience& patience) {
  static_assert(V::place != Place::host, "no CTA polls for the host: host_hand_over.cuh");
  SBO_BEGIN("consumer.poll");
  int seen;
  bool wait = true;
  if constexpr (V::poll == Poll::plain_then_acquire) {
    seen = ptx::ld_weak(signal);
    wait = !reached<V>(seen, threshold);
  }
  if (wait) {
    do {
      seen = load_signal<V>(signal);
    } while (!reached<V>(seen, threshold) && patience.lasts(seen));
  }
  if constexpr (V::poll == Poll::ld_relaxed_fence) ptx::fence_acq_rel<ptx_scope(V::poll_scope)>();
  SBO_END("consumer.poll");
  return seen;
}

// 16 bytes of a tile in global memory, as the variant reads them.
template <class V>
__device__ __forceinline__ uint4 read_global(const uint4* address) {
  if constexpr (V::read == Read::relaxed) return ptx::ld_relaxed_gpu_v4(address);
  if constexpr (V::read == Read::nc) return ptx::ld_nc_v4(address);
  return ptx::ld_weak_v4(address);
}

template <class V>
constexpr bool reads_by_tma() {
  return V::read == Read::tma || V::read == Read::tma_after_fence;
}

}  // namespace sbo
