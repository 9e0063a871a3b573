// Wrappers for wgmma, the asynchronous matrix product of a warpgroup: D (64 x N, FP32, registers) from
// A (64 x 32, e4m3) and B (N x 32, e4m3), both in shared memory, K-major with a 128-byte swizzle.
//
// A from registers, read from shared memory once for two pieces of B, was slower on an H200 although
// it reads less.
//
// Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
#pragma once

#include "ptx.cuh"

namespace sbo {
namespace ptx {

// Orders this warpgroup's earlier accesses to registers before the products that follow.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit_group() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int N>
__device__ __forceinline__ void wgmma_wait_group() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Eight accumulators: their places in an instruction, and as operands.
#define SBO_D0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define SBO_D8 "%8, %9, %10, %11, %12, %13, %14, %15"
#define SBO_D16 "%16, %17, %18, %19, %20, %21, %22, %23"
#define SBO_D24 "%24, %25, %26, %27, %28, %29, %30, %31"
#define SBO_D32 "%32, %33, %34, %35, %36, %37, %38, %39"
#define SBO_D40 "%40, %41, %42, %43, %44, %45, %46, %47"
#define SBO_D48 "%48, %49, %50, %51, %52, %53, %54, %55"
#define SBO_D56 "%56, %57, %58, %59, %60, %61, %62, %63"
#define SBO_OUT(D, I)                                                               \
  "+f"(D[I]), "+f"(D[I + 1]), "+f"(D[I + 2]), "+f"(D[I + 3]), "+f"(D[I + 4]),       \
      "+f"(D[I + 5]), "+f"(D[I + 6]), "+f"(D[I + 7])

// Adds to `d` where `accumulate` is not 0, and replaces it where it is.
__device__ __forceinline__ void wgmma_m64n16k32_e4m3(float (&d)[8], unsigned long long a,
                                                     unsigned long long b, unsigned accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.u32 p, %10, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n16k32.f32.e4m3.e4m3 {"
      SBO_D0
      "}, %8, %9, p, 1, 1;\n"
      "}"
      : SBO_OUT(d, 0)
      : "l"(a), "l"(b), "r"(accumulate)
      : "memory");
}

__device__ __forceinline__ void wgmma_m64n32k32_e4m3(float (&d)[16], unsigned long long a,
                                                     unsigned long long b, unsigned accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.u32 p, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k32.f32.e4m3.e4m3 {"
      SBO_D0 ", " SBO_D8
      "}, %16, %17, p, 1, 1;\n"
      "}"
      : SBO_OUT(d, 0), SBO_OUT(d, 8)
      : "l"(a), "l"(b), "r"(accumulate)
      : "memory");
}

__device__ __forceinline__ void wgmma_m64n48k32_e4m3(float (&d)[24], unsigned long long a,
                                                     unsigned long long b, unsigned accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.u32 p, %26, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n48k32.f32.e4m3.e4m3 {"
      SBO_D0 ", " SBO_D8 ", " SBO_D16
      "}, %24, %25, p, 1, 1;\n"
      "}"
      : SBO_OUT(d, 0), SBO_OUT(d, 8), SBO_OUT(d, 16)
      : "l"(a), "l"(b), "r"(accumulate)
      : "memory");
}

__device__ __forceinline__ void wgmma_m64n64k32_e4m3(float (&d)[32], unsigned long long a,
                                                     unsigned long long b, unsigned accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.u32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 {"
      SBO_D0 ", " SBO_D8 ", " SBO_D16 ", " SBO_D24
      "}, %32, %33, p, 1, 1;\n"
      "}"
      : SBO_OUT(d, 0), SBO_OUT(d, 8), SBO_OUT(d, 16), SBO_OUT(d, 24)
      : "l"(a), "l"(b), "r"(accumulate)
      : "memory");
}

__device__ __forceinline__ void wgmma_m64n80k32_e4m3(float (&d)[40], unsigned long long a,
                                                     unsigned long long b, unsigned accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.u32 p, %42, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n80k32.f32.e4m3.e4m3 {"
      SBO_D0 ", " SBO_D8 ", " SBO_D16 ", " SBO_D24 ", " SBO_D32
      "}, %40, %41, p, 1, 1;\n"
      "}"
      : SBO_OUT(d, 0), SBO_OUT(d, 8), SBO_OUT(d, 16), SBO_OUT(d, 24), SBO_OUT(d, 32)
      : "l"(a), "l"(b), "r"(accumulate)
      : "memory");
}

__device__ __forceinline__ void wgmma_m64n96k32_e4m3(float (&d)[48], unsigned long long a,
                                                     unsigned long long b, unsigned accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.u32 p, %50, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n96k32.f32.e4m3.e4m3 {"
      SBO_D0 ", " SBO_D8 ", " SBO_D16 ", " SBO_D24 ", " SBO_D32 ", " SBO_D40
      "}, %48, %49, p, 1, 1;\n"
      "}"
      : SBO_OUT(d, 0), SBO_OUT(d, 8), SBO_OUT(d, 16), SBO_OUT(d, 24), SBO_OUT(d, 32),
        SBO_OUT(d, 40)
      : "l"(a), "l"(b), "r"(accumulate)
      : "memory");
}

__device__ __forceinline__ void wgmma_m64n112k32_e4m3(float (&d)[56], unsigned long long a,
                                                     unsigned long long b, unsigned accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.u32 p, %58, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n112k32.f32.e4m3.e4m3 {"
      SBO_D0 ", " SBO_D8 ", " SBO_D16 ", " SBO_D24 ", " SBO_D32 ", " SBO_D40 ", " SBO_D48
      "}, %56, %57, p, 1, 1;\n"
      "}"
      : SBO_OUT(d, 0), SBO_OUT(d, 8), SBO_OUT(d, 16), SBO_OUT(d, 24), SBO_OUT(d, 32),
        SBO_OUT(d, 40), SBO_OUT(d, 48)
      : "l"(a), "l"(b), "r"(accumulate)
      : "memory");
}

__device__ __forceinline__ void wgmma_m64n128k32_e4m3(float (&d)[64], unsigned long long a,
                                                     unsigned long long b, unsigned accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.u32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
      SBO_D0 ", " SBO_D8 ", " SBO_D16 ", " SBO_D24 ", " SBO_D32 ", " SBO_D40 ", " SBO_D48 ", "
      SBO_D56
      "}, %64, %65, p, 1, 1;\n"
      "}"
      : SBO_OUT(d, 0), SBO_OUT(d, 8), SBO_OUT(d, 16), SBO_OUT(d, 24), SBO_OUT(d, 32),
        SBO_OUT(d, 40), SBO_OUT(d, 48), SBO_OUT(d, 56)
      : "l"(a), "l"(b), "r"(accumulate)
      : "memory");
}

#undef SBO_OUT
#undef SBO_D0
#undef SBO_D8
#undef SBO_D16
#undef SBO_D24
#undef SBO_D32
#undef SBO_D40
#undef SBO_D48
#undef SBO_D56

// The product for whatever N the accumulators have room for.
template <unsigned Registers>
__device__ __forceinline__ void wgmma_e4m3(float (&d)[Registers], unsigned long long a,
                                           unsigned long long b, unsigned accumulate) {
  if constexpr (Registers == 8) wgmma_m64n16k32_e4m3(d, a, b, accumulate);
  if constexpr (Registers == 16) wgmma_m64n32k32_e4m3(d, a, b, accumulate);
  if constexpr (Registers == 24) wgmma_m64n48k32_e4m3(d, a, b, accumulate);
  if constexpr (Registers == 32) wgmma_m64n64k32_e4m3(d, a, b, accumulate);
  if constexpr (Registers == 40) wgmma_m64n80k32_e4m3(d, a, b, accumulate);
  if constexpr (Registers == 48) wgmma_m64n96k32_e4m3(d, a, b, accumulate);
  if constexpr (Registers == 56) wgmma_m64n112k32_e4m3(d, a, b, accumulate);
  if constexpr (Registers == 64) wgmma_m64n128k32_e4m3(d, a, b, accumulate);
}

}  // namespace ptx
}  // namespace sbo
