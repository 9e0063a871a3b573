// Small hand-overs, sound and broken, one kernel each; inspected.csv says what is expected.
//
// One producer hands a tile over, one consumer takes it; the instruction that is wrong, if any, is
// named by the kernel. `build.py` compiles them to the PTX beside this file.
#define ASM(TEXT, ...) asm volatile(TEXT ::__VA_ARGS__ : "memory")

__device__ __forceinline__ unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
__device__ __forceinline__ void store_bulk(void* to, const void* from) {
  ASM("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], 1024;", "l"(to), "r"(shared_address(from)));
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
__device__ __forceinline__ void store_tensor(const void* map, const void* from) {
  ASM("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %1}], [%2];", "l"(map), "r"(0), "r"(shared_address(from)));
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
#define WAIT(N) asm volatile("cp.async.bulk.wait_group " #N ";" ::: "memory")
#define WAIT_READ(N) asm volatile("cp.async.bulk.wait_group.read " #N ";" ::: "memory")
#define PROXY_SHARED() asm volatile("fence.proxy.async.shared::cta;" ::: "memory")
#define PROXY() asm volatile("fence.proxy.async;" ::: "memory")
#define FENCE(WHAT) asm volatile("fence." WHAT ";" ::: "memory")
#define ADD(WHAT, P) ASM("red." WHAT ".global.add.s32 [%0], 1;", "l"(P))
#define ATOM(WHAT, P) { int old; asm volatile("atom." WHAT ".global.add.s32 %0, [%1], 1;" : "=r"(old) : "l"(P) : "memory"); }
#define PUT(WHAT, P) ASM("st." WHAT ".global.s32 [%0], 1;", "l"(P))
__device__ __forceinline__ bool elected() {
  unsigned chosen;
  asm volatile("{\n.reg .pred p;\nelect.sync _|p, -1;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(chosen)::"memory");
  return chosen != 0;
}
#define LOAD(WHAT, P, V) asm volatile("ld." WHAT ".global.s32 %0, [%1];" : "=r"(V) : "l"(P) : "memory")
#define POLL(WHAT, P) { int seen; do { LOAD(WHAT, P, seen); } while (seen < 1); }
#define FILL() tile[threadIdx.x] = threadIdx.x
#define PRODUCER(NAME) extern "C" __global__ void __launch_bounds__(128) NAME(int* data, int* flag, const void* map)
#define CONSUMER(NAME) extern "C" __global__ void __launch_bounds__(128) NAME(const int* data, int* flag, int* out)
__device__ __forceinline__ int read_weak(const int* p) { int v; asm volatile("ld.weak.global.s32 %0, [%1];" : "=r"(v) : "l"(p) : "memory"); return v; }
__device__ __forceinline__ int read_nc(const int* p) { int v; asm volatile("ld.global.nc.s32 %0, [%1];" : "=r"(v) : "l"(p) : "memory"); return v; }
__device__ __forceinline__ void load_bulk(void* to, const void* from, unsigned long long* bar) {
  ASM("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], 1024, [%2];", "r"(shared_address(to)), "l"(from), "r"(shared_address(bar)));
}

PRODUCER(bulk_full_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(tensor_full_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_tensor(map, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_full_atom_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ATOM("release.gpu", flag);
}

PRODUCER(bulk_full_acq_rel) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ATOM("acq_rel.gpu", flag);
}

PRODUCER(bulk_full_release_sys) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.sys", flag);
}

PRODUCER(bulk_full_st_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) PUT("release.gpu", flag);
}

PRODUCER(bulk_full_threadfence_atomic) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) { __threadfence(); atomicAdd(flag, 1); }
}

PRODUCER(bulk_full_fence_acq_rel_red) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) { FENCE("acq_rel.gpu"); ADD("relaxed.gpu", flag); }
}

PRODUCER(bulk_full_fence_volatile) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) { __threadfence(); *(volatile int*)flag = 1; }
}

PRODUCER(bulk_full_two_issuers) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0 || t == 32) store_bulk(data + t, tile + t);
  if (t == 0 || t == 32) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_full_other_warp_publishes) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 64) ADD("release.gpu", flag);
}

PRODUCER(bulk_full_all_threads_wait) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_read_then_full) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) { WAIT_READ(0); WAIT(0); }
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_elect) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t < 32 && elected()) store_bulk(data, tile);
  if (t < 32 && elected()) WAIT(0);
  if (t < 32 && elected()) ADD("release.gpu", flag);
}

PRODUCER(bulk_one_thread_no_barrier) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_read_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT_READ(0);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(tensor_read_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_tensor(map, tile);
  if (t == 0) WAIT_READ(0);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_read_threadfence_atomic) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT_READ(0);
  __syncthreads();
  if (t == 0) { __threadfence(); atomicAdd(flag, 1); }
}

PRODUCER(bulk_read_atom_sys) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT_READ(0);
  __syncthreads();
  if (t == 0) ATOM("release.sys", flag);
}

PRODUCER(bulk_no_wait) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(tensor_no_wait) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_tensor(map, tile);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_no_wait_fence) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  __syncthreads();
  if (t == 0) { __threadfence(); atomicAdd(flag, 1); }
}

PRODUCER(bulk_wrong_thread_waits) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 32) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_no_barrier_other_warp) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  if (t == 64) ADD("release.gpu", flag);
}

PRODUCER(bulk_two_issuers_no_barrier) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0 || t == 32) store_bulk(data + t, tile + t);
  if (t == 0 || t == 32) WAIT(0);
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_relaxed) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("relaxed.gpu", flag);
}

PRODUCER(bulk_atomic_add) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) atomicAdd(flag, 1);
}

PRODUCER(bulk_volatile) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) *(volatile int*)flag = 1;
}

PRODUCER(bulk_st_relaxed) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) PUT("relaxed.gpu", flag);
}

PRODUCER(bulk_fence_before_barrier) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __threadfence(); __syncthreads();
  if (t == 64) atomicAdd(flag, 1);
}

PRODUCER(bulk_release_cta) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.cta", flag);
}

PRODUCER(bulk_release_cluster) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.cluster", flag);
}

PRODUCER(bulk_fence_cta) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) { __threadfence_block(); atomicAdd(flag, 1); }
}

PRODUCER(bulk_no_source_fence) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_no_source_barrier) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) WAIT(0);
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(bulk_newest_pending) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  PROXY_SHARED();
  __syncthreads();
  if (t == 0) store_bulk(data, tile);
  if (t == 0) { store_bulk(data + 256, tile); WAIT(1); }
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(generic_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  data[t] = t;
  __syncthreads();
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(generic_threadfence_atomic) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  data[t] = t;
  __syncthreads();
  if (t == 0) { __threadfence(); atomicAdd(flag, 1); }
}

PRODUCER(generic_st_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  data[t] = t;
  __syncthreads();
  if (t == 0) PUT("release.gpu", flag);
}

PRODUCER(generic_every_thread_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  if (t == 5) data[t] = t;
  if (t == 5) ADD("release.gpu", flag);
}

PRODUCER(generic_cluster_barrier) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  data[t] = t;
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(generic_cluster_relaxed) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  data[t] = t;
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(generic_relaxed) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  data[t] = t;
  __syncthreads();
  if (t == 0) ADD("relaxed.gpu", flag);
}

PRODUCER(generic_no_barrier) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  data[t] = t;
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(generic_fence_by_all_then_barrier) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  FILL();
  data[t] = t;
  __threadfence(); __syncthreads();
  if (t == 0) atomicAdd(flag, 1);
}

PRODUCER(loop_full_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  #pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    FILL();
    PROXY_SHARED();
    __syncthreads();
    if (t == 0) store_bulk(data + 256 * i, tile);
    if (t == 0) WAIT(0);
    __syncthreads();
    if (t == 0) ADD("release.gpu", flag + i);
    __syncthreads();
  }
}

PRODUCER(loop_read_release) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  #pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    FILL();
    PROXY_SHARED();
    __syncthreads();
    if (t == 0) store_bulk(data + 256 * i, tile);
    if (t == 0) WAIT_READ(0);
    __syncthreads();
    if (t == 0) ADD("release.gpu", flag + i);
    __syncthreads();
  }
}

PRODUCER(loop_no_wait) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  #pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    FILL();
    PROXY_SHARED();
    __syncthreads();
    if (t == 0) store_bulk(data + 256 * i, tile);
    
    __syncthreads();
    if (t == 0) ADD("release.gpu", flag + i);
    __syncthreads();
  }
}

PRODUCER(loop_other_warp_no_barrier) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  #pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    FILL();
    PROXY_SHARED();
    __syncthreads();
    if (t == 0) store_bulk(data + 256 * i, tile);
    if (t == 0) WAIT(0);
    
    if (t == 64) ADD("release.gpu", flag + i);
    __syncthreads();
  }
}

PRODUCER(loop_newest_pending) {
  __shared__ __align__(128) int tile[256];
  const unsigned t = threadIdx.x;
  #pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    FILL();
    PROXY_SHARED();
    __syncthreads();
    if (t == 0) store_bulk(data + 256 * i, tile);
    if (t == 0) WAIT(1);
    __syncthreads();
    if (t == 0) ADD("release.gpu", flag + i);
    __syncthreads();
  }
}

CONSUMER(poll_acquire) {
  const unsigned t = threadIdx.x;
  POLL("acquire.gpu", flag);
  out[t] = read_weak(data + t);
}

CONSUMER(poll_acquire_sys) {
  const unsigned t = threadIdx.x;
  POLL("acquire.sys", flag);
  out[t] = read_weak(data + t);
}

CONSUMER(poll_relaxed_fence) {
  const unsigned t = threadIdx.x;
  POLL("relaxed.gpu", flag); FENCE("acq_rel.gpu");
  out[t] = read_weak(data + t);
}

CONSUMER(poll_volatile_threadfence) {
  const unsigned t = threadIdx.x;
  while (*(volatile int*)flag < 1) {} __threadfence();
  out[t] = read_weak(data + t);
}

CONSUMER(poll_one_thread_barrier) {
  const unsigned t = threadIdx.x;
  if (t == 0) POLL("acquire.gpu", flag);
  __syncthreads();
  out[t] = read_weak(data + t);
}

CONSUMER(poll_one_thread_reads_alone) {
  const unsigned t = threadIdx.x;
  if (t == 0) {POLL("acquire.gpu", flag);
  out[0] = read_weak(data); }
}

CONSUMER(poll_atomic_acquire) {
  const unsigned t = threadIdx.x;
  { int seen; do { asm volatile("atom.acquire.gpu.global.or.b32 %0, [%1], 0;" : "=r"(seen) : "l"(flag) : "memory"); } while (seen < 1); }
  out[t] = read_weak(data + t);
}

CONSUMER(poll_relaxed_read_relaxed) {
  const unsigned t = threadIdx.x;
  POLL("relaxed.gpu", flag);
  { int v; LOAD("relaxed.gpu", data + t, v); out[t] = v; }
}

CONSUMER(poll_relaxed) {
  const unsigned t = threadIdx.x;
  POLL("relaxed.gpu", flag);
  out[t] = read_weak(data + t);
}

CONSUMER(poll_volatile) {
  const unsigned t = threadIdx.x;
  while (*(volatile int*)flag < 1) {}
  out[t] = read_weak(data + t);
}

CONSUMER(poll_relaxed_barrier) {
  const unsigned t = threadIdx.x;
  if (t == 0) POLL("relaxed.gpu", flag);
  __syncthreads();
  out[t] = read_weak(data + t);
}

CONSUMER(poll_acquire_cta) {
  const unsigned t = threadIdx.x;
  POLL("acquire.cta", flag);
  out[t] = read_weak(data + t);
}

CONSUMER(poll_relaxed_fence_cta) {
  const unsigned t = threadIdx.x;
  POLL("relaxed.gpu", flag); __threadfence_block();
  out[t] = read_weak(data + t);
}

CONSUMER(poll_weak_asm) {
  const unsigned t = threadIdx.x;
  POLL("weak", flag);
  out[t] = read_weak(data + t);
}

CONSUMER(poll_plain_first) {
  const unsigned t = threadIdx.x;
  { int seen; LOAD("weak", flag, seen); if (seen < 1) POLL("acquire.gpu", flag); }
  out[t] = read_weak(data + t);
}

CONSUMER(poll_hoisted) {
  const unsigned t = threadIdx.x;
  while (*flag < 1) {}
  out[t] = read_weak(data + t);
}

CONSUMER(poll_one_thread_no_barrier) {
  const unsigned t = threadIdx.x;
  if (t == 0) POLL("acquire.gpu", flag);
  out[t] = read_weak(data + t);
}

CONSUMER(read_non_coherent) {
  const unsigned t = threadIdx.x;
  POLL("acquire.gpu", flag);
  out[t] = read_nc(data + t);
}

CONSUMER(load_bulk_proxy_fence) {
  __shared__ __align__(128) int tile[256];
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  if (t == 0) { POLL("acquire.gpu", flag); PROXY();
  load_bulk(tile, data, &bar); }
}

CONSUMER(load_bulk_no_proxy_fence) {
  __shared__ __align__(128) int tile[256];
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  if (t == 0) { POLL("acquire.gpu", flag);
  load_bulk(tile, data, &bar); }
}

CONSUMER(load_bulk_fence_of_shared_only) {
  __shared__ __align__(128) int tile[256];
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  if (t == 0) { POLL("acquire.gpu", flag); PROXY_SHARED();
  load_bulk(tile, data, &bar); }
}

CONSUMER(load_bulk_fence_barrier_other_warp) {
  __shared__ __align__(128) int tile[256];
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  if (t == 0) { POLL("acquire.gpu", flag); PROXY(); }
  __syncthreads();
  if (t == 32) load_bulk(tile, data, &bar);
}

PRODUCER(weak_flag_behind_fence) {
  const unsigned t = threadIdx.x;
  data[t] = t;
  __syncthreads();
  if (t == 0) { __threadfence(); asm volatile("st.weak.global.s32 [%0], 1;" ::"l"(flag) : "memory"); }
  POLL("acquire.gpu", flag);
}

// ---- where threads meet otherwise than at a barrier of the whole CTA ----

#define SYNCWARP() asm volatile("bar.warp.sync -1;" ::: "memory")
#define NAMED(WHAT, NAME, COUNT) ASM("barrier.cta." WHAT " %0, %1;", "r"(NAME), "r"(COUNT))
__device__ __forceinline__ void mbarrier_init(unsigned long long* bar, unsigned count) {
  if (threadIdx.x == 0) ASM("mbarrier.init.shared::cta.b64 [%0], %1;", "r"(shared_address(bar)), "r"(count));
  __syncthreads();
}
__device__ __forceinline__ void mbarrier_arrive(unsigned long long* bar) {
  ASM("mbarrier.arrive.shared::cta.b64 _, [%0];", "r"(shared_address(bar)));
}
__device__ __forceinline__ void mbarrier_wait(unsigned long long* bar, unsigned parity) {
  ASM("{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra AGAIN;\n}", "r"(shared_address(bar)), "r"(parity));
}
#define STORE_SHARED_AND_BULK() FILL(); PROXY_SHARED(); __syncthreads(); if (t == 0) store_bulk(data, tile)

PRODUCER(mbarrier_all_meet) {
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 128);
  data[t] = t;
  mbarrier_arrive(&bar);
  mbarrier_wait(&bar, 0);
  if (t == 64) ADD("release.gpu", flag);
}

PRODUCER(mbarrier_arrive_before_store) {
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 128);
  mbarrier_arrive(&bar);
  data[t] = t;
  mbarrier_wait(&bar, 0);
  if (t == 64) ADD("release.gpu", flag);
}

PRODUCER(mbarrier_phase_before) {
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 128);
  data[t] = t;
  mbarrier_arrive(&bar);
  mbarrier_wait(&bar, 1);
  if (t == 64) ADD("release.gpu", flag);
}

PRODUCER(mbarrier_relaxed_arrival) {
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 128);
  data[t] = t;
  ASM("mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [%0];", "r"(shared_address(&bar)));
  mbarrier_wait(&bar, 0);
  if (t == 64) ADD("release.gpu", flag);
}

PRODUCER(mbarrier_two_roles) {
  __shared__ __align__(128) int tile[256];
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 1);
  STORE_SHARED_AND_BULK();
  if (t == 0) { WAIT(0); mbarrier_arrive(&bar); }
  if (t == 64) { mbarrier_wait(&bar, 0); ADD("release.gpu", flag); }
}

PRODUCER(mbarrier_two_roles_read_wait) {
  __shared__ __align__(128) int tile[256];
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 1);
  STORE_SHARED_AND_BULK();
  if (t == 0) { WAIT_READ(0); mbarrier_arrive(&bar); }
  if (t == 64) { mbarrier_wait(&bar, 0); ADD("release.gpu", flag); }
}

PRODUCER(mbarrier_two_roles_no_wait) {
  __shared__ __align__(128) int tile[256];
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 1);
  STORE_SHARED_AND_BULK();
  if (t == 0) mbarrier_arrive(&bar);
  if (t == 64) { mbarrier_wait(&bar, 0); ADD("release.gpu", flag); }
}

PRODUCER(mbarrier_phase_by_turn) {
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 128);
#pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    data[i * 128 + t] = t;
    mbarrier_arrive(&bar);
    mbarrier_wait(&bar, i & 1);
    if (t == 64) ADD("release.gpu", flag + i);
  }
}

PRODUCER(mbarrier_one_phase_for_all_turns) {
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 128);
#pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    data[i * 128 + t] = t;
    mbarrier_arrive(&bar);
    mbarrier_wait(&bar, 0);
    if (t == 64) ADD("release.gpu", flag + i);
  }
}

PRODUCER(mbarrier_lane_of_each_warp) {
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 4);
  data[t] = t;
  SYNCWARP();
  if (t % 32 == 0) mbarrier_arrive(&bar);
  mbarrier_wait(&bar, 0);
  if (t == 64) ADD("release.gpu", flag);
}

PRODUCER(mbarrier_lane_of_each_warp_alone) {
  __shared__ unsigned long long bar;
  const unsigned t = threadIdx.x;
  mbarrier_init(&bar, 4);
  data[t] = t;
  if (t % 32 == 0) mbarrier_arrive(&bar);
  mbarrier_wait(&bar, 0);
  if (t == 64) ADD("release.gpu", flag);
}

PRODUCER(warp_barrier) {
  const unsigned t = threadIdx.x;
  if (t < 32) {
    data[t] = t;
    SYNCWARP();
    if (t == 0) ADD("release.gpu", flag);
  }
}

PRODUCER(warp_barrier_elected) {
  const unsigned t = threadIdx.x;
  if (t < 32) {
    data[t] = t;
    SYNCWARP();
    if (elected()) ADD("release.gpu", flag);
  }
}

PRODUCER(warp_no_barrier) {
  const unsigned t = threadIdx.x;
  if (t < 32) {
    data[t] = t;
    if (t == 0) ADD("release.gpu", flag);
  }
}

PRODUCER(warp_barrier_for_all_warps) {
  const unsigned t = threadIdx.x;
  data[t] = t;
  SYNCWARP();
  if (t == 0) ADD("release.gpu", flag);
}

CONSUMER(poll_lane_warp_barrier) {
  const unsigned t = threadIdx.x;
  if (t % 32 == 0) POLL("acquire.gpu", flag);
  SYNCWARP();
  out[t] = read_weak(data + t);
}

CONSUMER(poll_one_thread_warp_barrier) {
  const unsigned t = threadIdx.x;
  if (t == 0) POLL("acquire.gpu", flag);
  SYNCWARP();
  out[t] = read_weak(data + t);
}

PRODUCER(named_barrier_of_one_warpgroup) {
  const unsigned t = threadIdx.x;
  if (t < 64) data[t] = t;
  NAMED("sync", 1 + t / 64, 64);
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(named_barriers_of_two_warpgroups) {
  const unsigned t = threadIdx.x;
  data[t] = t;
  NAMED("sync", 1 + t / 64, 64);
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(named_barrier_arrive) {
  const unsigned t = threadIdx.x;
  if (t < 64) {
    data[t] = t;
    NAMED("arrive", 1, 128);
  } else {
    NAMED("sync", 1, 128);
    if (t == 64) ADD("release.gpu", flag);
  }
}

PRODUCER(named_barrier_arrive_before_store) {
  const unsigned t = threadIdx.x;
  if (t < 64) {
    NAMED("arrive", 1, 128);
    data[t] = t;
  } else {
    NAMED("sync", 1, 128);
    if (t == 64) ADD("release.gpu", flag);
  }
}

PRODUCER(cluster_store_behind_arrival) {
  const unsigned t = threadIdx.x;
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  data[t] = t;
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  if (t == 0) ADD("release.gpu", flag);
}

PRODUCER(weak_flag_polls_nothing) {
  const unsigned t = threadIdx.x;
  data[t] = t;
  __syncthreads();
  if (t == 0) { __threadfence(); *flag = 1; }
}
