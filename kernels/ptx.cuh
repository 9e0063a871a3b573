// One wrapper per PTX instruction; its name carries order and scope.
//
// Every wrapper is `asm volatile` with a "memory" clobber, so that neither the wrapper nor a plain
// access beside it is moved by the compiler: what the source says is what ptxas is given. A test
// reads this file and holds it to that, and another changes each wrapper and watches the
// conformance check fail.
#pragma once

namespace sbo {

// 128 bytes that the driver filled in; <cuda.h> cannot be included without a host compiler.
struct alignas(64) TensorMap {
  unsigned long long opaque[16];
};

namespace ptx {

enum class Scope { cta, cluster, gpu, sys };

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// A scope is part of a mnemonic, so each scoped wrapper spells its four forms out.
#define SBO_AT_SCOPE(S, STATEMENT)                         \
  if constexpr (S == Scope::cta) { STATEMENT("cta") }         \
  else if constexpr (S == Scope::cluster) { STATEMENT("cluster") } \
  else if constexpr (S == Scope::gpu) { STATEMENT("gpu") }    \
  else { STATEMENT("sys") }

// ---- signals: red, atom, st, ld -------------------------------------------------------------

template <Scope S>
__device__ __forceinline__ void red_add_relaxed(int* address, int value) {
#define SBO_OP(SCOPE) \
  asm volatile("red.relaxed." SCOPE ".global.add.s32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
  SBO_AT_SCOPE(S, SBO_OP)
#undef SBO_OP
}

template <Scope S>
__device__ __forceinline__ void red_add_release(int* address, int value) {
#define SBO_OP(SCOPE) \
  asm volatile("red.release." SCOPE ".global.add.s32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
  SBO_AT_SCOPE(S, SBO_OP)
#undef SBO_OP
}

template <Scope S>
__device__ __forceinline__ int atom_add_release(int* address, int value) {
  int previous;
#define SBO_OP(SCOPE)                                                       \
  asm volatile("atom.release." SCOPE ".global.add.s32 %0, [%1], %2;"        \
               : "=r"(previous) : "l"(address), "r"(value) : "memory");
  SBO_AT_SCOPE(S, SBO_OP)
#undef SBO_OP
  return previous;
}

template <Scope S>
__device__ __forceinline__ void st_release(int* address, int value) {
#define SBO_OP(SCOPE) \
  asm volatile("st.release." SCOPE ".global.s32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
  SBO_AT_SCOPE(S, SBO_OP)
#undef SBO_OP
}

template <Scope S>
__device__ __forceinline__ void st_relaxed(int* address, int value) {
#define SBO_OP(SCOPE) \
  asm volatile("st.relaxed." SCOPE ".global.s32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
  SBO_AT_SCOPE(S, SBO_OP)
#undef SBO_OP
}

// Volatile is relaxed at system scope with no promise of order (PTX ISA, "st").
__device__ __forceinline__ void st_volatile(int* address, int value) {
  asm volatile("st.volatile.global.s32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

template <Scope S>
__device__ __forceinline__ int ld_acquire(const int* address) {
  int value;
#define SBO_OP(SCOPE) \
  asm volatile("ld.acquire." SCOPE ".global.s32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  SBO_AT_SCOPE(S, SBO_OP)
#undef SBO_OP
  return value;
}

template <Scope S>
__device__ __forceinline__ int ld_relaxed(const int* address) {
  int value;
#define SBO_OP(SCOPE) \
  asm volatile("ld.relaxed." SCOPE ".global.s32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  SBO_AT_SCOPE(S, SBO_OP)
#undef SBO_OP
  return value;
}

__device__ __forceinline__ int ld_volatile(const int* address) {
  int value;
  asm volatile("ld.volatile.global.s32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}

__device__ __forceinline__ int ld_weak(const int* address) {
  int value;
  asm volatile("ld.weak.global.s32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}

// ---- fences ---------------------------------------------------------------------------------

template <Scope S>
__device__ __forceinline__ void fence_acq_rel() {
#define SBO_OP(SCOPE) asm volatile("fence.acq_rel." SCOPE ";" ::: "memory");
  SBO_AT_SCOPE(S, SBO_OP)
#undef SBO_OP
}

__device__ __forceinline__ void fence_proxy_async() {
  asm volatile("fence.proxy.async;" ::: "memory");
}

__device__ __forceinline__ void fence_proxy_async_shared_cta() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ---- barriers -------------------------------------------------------------------------------

__device__ __forceinline__ void barrier_cta_sync(unsigned barrier, unsigned threads) {
  asm volatile("barrier.cta.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// True in every thread where `predicate` was true in any.
__device__ __forceinline__ bool barrier_cta_red_or(unsigned barrier, unsigned threads,
                                                   bool predicate) {
  unsigned any;
  asm volatile(
      "{\n"
      ".reg .pred mine, all;\n"
      "setp.ne.u32 mine, %3, 0;\n"
      "barrier.cta.red.or.pred all, %1, %2, mine;\n"
      "selp.u32 %0, 1, 0, all;\n"
      "}"
      : "=r"(any)
      : "r"(barrier), "r"(threads), "r"(static_cast<unsigned>(predicate))
      : "memory");
  return any != 0;
}

__device__ __forceinline__ void barrier_cluster_arrive_release() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ __forceinline__ void barrier_cluster_arrive_relaxed() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

__device__ __forceinline__ void barrier_cluster_wait_acquire() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// ---- bulk copies ----------------------------------------------------------------------------

__device__ __forceinline__ void cp_async_bulk_tensor_2d_store(const TensorMap* map, int column,
                                                              int row, const void* source) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map),
               "r"(column), "r"(row), "r"(shared_address(source))
               : "memory");
}

__device__ __forceinline__ void cp_async_bulk_store(void* destination, const void* source,
                                                    unsigned bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(destination),
               "r"(shared_address(source)), "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void cp_async_bulk_tensor_2d_load(void* destination, const TensorMap* map,
                                                             int column, int row,
                                                             unsigned long long* mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%2, %3}], [%4];" ::"r"(shared_address(destination)),
      "l"(map), "r"(column), "r"(row), "r"(shared_address(mbarrier))
      : "memory");
}

__device__ __forceinline__ void cp_async_bulk_load(void* destination, const void* source,
                                                   unsigned bytes, unsigned long long* mbarrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_address(destination)),
      "l"(source), "r"(bytes), "r"(shared_address(mbarrier))
      : "memory");
}

__device__ __forceinline__ void cp_async_bulk_commit_group() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

template <int N>
__device__ __forceinline__ void cp_async_bulk_wait_group() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}

template <int N>
__device__ __forceinline__ void cp_async_bulk_wait_group_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

// ---- mbarrier -------------------------------------------------------------------------------

__device__ __forceinline__ void mbarrier_init(unsigned long long* mbarrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(mbarrier)),
               "r"(arrivals)
               : "memory");
}

__device__ __forceinline__ void mbarrier_arrive_expect_tx(unsigned long long* mbarrier,
                                                          unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(mbarrier)),
               "r"(bytes)
               : "memory");
}

// True once the phase with this parity has completed; may return false after a while.
__device__ __forceinline__ bool mbarrier_try_wait_acquire(unsigned long long* mbarrier,
                                                          unsigned parity) {
  unsigned done;
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 done, [%1], %2;\n"
      "selp.u32 %0, 1, 0, done;\n"
      "}"
      : "=r"(done)
      : "r"(shared_address(mbarrier)), "r"(parity)
      : "memory");
  return done != 0;
}

// ---- tile data: 16 bytes at a time ----------------------------------------------------------

__device__ __forceinline__ uint4 ld_weak_v4(const uint4* address) {
  uint4 v;
  asm volatile("ld.weak.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(address) : "memory");
  return v;
}

__device__ __forceinline__ uint4 ld_relaxed_gpu_v4(const uint4* address) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(address) : "memory");
  return v;
}

__device__ __forceinline__ uint4 ld_nc_v4(const uint4* address) {
  uint4 v;
  asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(address) : "memory");
  return v;
}

__device__ __forceinline__ void st_weak_v4(uint4* address, uint4 v) {
  asm volatile("st.weak.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
}

__device__ __forceinline__ uint4 ld_weak_shared_v4(const uint4* address) {
  uint4 v;
  asm volatile("ld.weak.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(shared_address(address)) : "memory");
  return v;
}

__device__ __forceinline__ void st_weak_shared_v4(uint4* address, uint4 v) {
  asm volatile("st.weak.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(address)),
               "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}

// ---- a flag in shared memory ----------------------------------------------------------------

__device__ __forceinline__ void st_relaxed_cta_shared(unsigned* address, unsigned value) {
  asm volatile("st.relaxed.cta.shared.u32 [%0], %1;" ::"r"(shared_address(address)), "r"(value)
               : "memory");
}

__device__ __forceinline__ unsigned ld_relaxed_cta_shared(const unsigned* address) {
  unsigned value;
  asm volatile("ld.relaxed.cta.shared.u32 %0, [%1];"
               : "=r"(value) : "r"(shared_address(address)) : "memory");
  return value;
}

// ---- special registers ----------------------------------------------------------------------

__device__ __forceinline__ unsigned smid() {
  unsigned value;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(value)::"memory");
  return value;
}

__device__ __forceinline__ unsigned cluster_ctarank() {
  unsigned value;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(value)::"memory");
  return value;
}

// Nanoseconds since an arbitrary moment; the same clock on every SM, coarse in steps.
__device__ __forceinline__ unsigned long long globaltimer() {
  unsigned long long value;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(value)::"memory");
  return value;
}

// Cycles of this SM.
__device__ __forceinline__ unsigned long long clock64() {
  unsigned long long value;
  asm volatile("mov.u64 %0, %%clock64;" : "=l"(value)::"memory");
  return value;
}

}  // namespace ptx

// A comment in the PTX text around the instructions of one site, for the reader of compiled code.
// No "memory" clobber: a marker touches no memory and must not hold the compiler back.
#define SBO_BEGIN(SITE) asm volatile("// sbo:begin " SITE)
#define SBO_END(SITE) asm volatile("// sbo:end " SITE)

}  // namespace sbo
