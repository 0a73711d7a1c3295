// What a kernel may use, to be compiled as CUDA: the only header through which csrc/cuda meets CUDA. Built
// with nvcc it is CUDA itself and a few wrappers; with WEFT_CUDA_EMULATED it is the emulator of
// tests/cuda_emulation, which compiles the same kernels with a host compiler and checks them (docs/cuda.md).
// So kernels keep to these rules:
//
// - Inline PTX stands here alone, in wrappers that the emulator has a twin of.
// - Shared memory by SHARED and DYNAMIC_SHARED, launches by launch(), from the host.
// - Warp operations with an explicit mask (`_sync`); every thread of a block meets the same barriers, so a
//   kernel with barriers has no early return.
// - One constexpr for the block size and __launch_bounds__.
#pragma once

#if defined(WEFT_CUDA_EMULATED)
#include "emulated_device.h"
#else

#include <cuda_runtime.h>

#include <cstdint>

// SHARED(float, tile, [2][32][33]);    DYNAMIC_SHARED(float4, buffer);
#define SHARED(type, name, dims) __shared__ type name dims
#define DYNAMIC_SHARED(type, name)                         \
  extern __shared__ __align__(16) unsigned char name##_[]; \
  type* const name = reinterpret_cast<type*>(name##_)

namespace weft::cuda {

using Grid = dim3;

// Runs kernel(args...) on `stream`; `shared` is the size of its dynamic shared memory in bytes, more than 48
// KiB only after allow_shared(). An error shows in the next check (runtime.h).
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), Grid grid, dim3 block, std::size_t shared, cudaStream_t stream,
            const Args&... args) {
  // clang-format off
  kernel<<<grid, block, shared, stream>>>(static_cast<Params>(args)...);
  // clang-format on
}

// Copies `Bytes` (4, 8 or 16) from global to shared memory without a register in between; zeros where not
// `valid`, and `from` is not read then. It has arrived after cp_async_wait and a barrier.
template <int Bytes>
__device__ __forceinline__ void cp_async(void* to, const void* from, bool valid = true) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int read = valid ? Bytes : 0;
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(read)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(from), "n"(Bytes),
                 "r"(read)
                 : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `Pending` of this thread's latest groups are under way.
template <int Pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Four (with Transposed: transposed) 8x8 tiles of 16-bit words from shared memory into a warp's registers:
// lane l gives the address of row l % 8 of tile l / 8, 16 bytes aligned to 16.
template <bool Transposed = false>
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared));
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared));
}

// d[16,8] += a[16,16] b[16,8] by one warp: a, b of bfloat16 (two to a word), d of float; the fragments'
// layout is that of the instruction mma.m16n8k16 (PTX ISA, "Matrix fragments for mma.m16n8k16").
__device__ __forceinline__ void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace weft::cuda

#endif
