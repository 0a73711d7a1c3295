// The emulator's twin of csrc/cuda/device/device.h: all that a kernel and its launcher may use, for a host
// compiler. README.md tells the design; the parts:
//
//   emulated_types.h    vector types         emulated_threads.h  barriers, warps, shared memory, atomics
//   emulated_math.h     arithmetic           emulated_runtime.h  the CUDA runtime's API
#pragma once

#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>

#include "emulated_math.h"
#include "emulated_runtime.h"
#include "emulated_threads.h"
#include "emulated_types.h"

#define __global__
#if defined(__SANITIZE_THREAD__)
// For the checker: GCC doesn't tell of a store of what a call returns; inlined, it is a store like any other.
#define __device__ __attribute__((always_inline))
#else
#define __device__
#endif
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

namespace weft::emulated {

// A grid, and where the launch stands.
struct Grid : dim3 {
  Place place;
  Grid(dim3 size, WEFT_PLACE) : dim3(size), place{file, line} {}
  Grid(unsigned x, unsigned y = 1, unsigned z = 1, WEFT_PLACE) : dim3(x, y, z), place{file, line} {}
};

// Checks the launch, and puts it into the stream's queue or its capture.
cudaError_t submit_launch(cudaStream_t stream, KernelLaunch launch);

// Runs one thread of the kernel. Its arguments lie on the host: not the checker's business.
template <class... Params, std::size_t... I>
[[gnu::no_sanitize_thread]] inline void invoke(void (*kernel)(Params...),
                                               const std::tuple<std::remove_cv_t<Params>...>& arguments,
                                               std::index_sequence<I...>) {
  kernel(std::get<I>(arguments)...);
}

}  // namespace weft::emulated

namespace weft::cuda {

using Grid = emulated::Grid;  // it knows where the launch stands

template <class... Params, class... Args>
void launch(void (*kernel)(Params...), Grid grid, dim3 block, std::size_t shared, cudaStream_t stream,
            const Args&... args) {
  using Arguments = std::tuple<std::remove_cv_t<Params>...>;
  emulated::KernelLaunch launch;
  launch.kernel = reinterpret_cast<const void*>(kernel);
  launch.arguments = std::make_shared<Arguments>(static_cast<Params>(args)...);
  launch.arguments_size = sizeof(Arguments);
  launch.invoke = [](const void* function, const void* arguments) {
    emulated::invoke(reinterpret_cast<void (*)(Params...)>(const_cast<void*>(function)),
                     *static_cast<const Arguments*>(arguments), std::index_sequence_for<Params...>());
  };
  launch.grid = grid;
  launch.block = block;
  launch.shared = shared;
  launch.place = grid.place;
  emulated::submit_launch(stream, std::move(launch));
}

template <int Bytes>
inline void cp_async(void* to, const void* from, bool valid = true, WEFT_PLACE) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  emulated::copy_async(to, from, Bytes, valid, {file, line});
}
inline void cp_async_commit() { emulated::commit_copies(); }
template <int Pending>
inline void cp_async_wait() {
  emulated::wait_copies(Pending);
}

template <bool Transposed = false>
inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* row, WEFT_PLACE) {
  emulated::WarpOperation operation{
      Transposed ? emulated::Warp::ldmatrix_transposed : emulated::Warp::ldmatrix, 0xffffffffu, {file, line}};
  operation.r = r;
  operation.row = row;
  emulated::warp_operation(operation);
}

inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], WEFT_PLACE) {
  emulated::WarpOperation operation{emulated::Warp::mma_bf16, 0xffffffffu, {file, line}};
  operation.d = d;
  operation.a = a;
  operation.b = b;
  emulated::warp_operation(operation);
}

}  // namespace weft::cuda
