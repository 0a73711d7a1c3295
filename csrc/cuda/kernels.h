// What every source of this folder includes: the entry points of the CUDA backend, the device language, and
// what a launch needs of the runtime.
#pragma once
#include "backend.h"
#include "cuda/device/device.h"
#include "cuda/launch.h"

namespace weft::cuda {

WEFT_KERNELS(WEFT_DECLARE_KERNEL)

// Runs kernel(args...) on blocks of `block` threads without dynamic shared memory.
template <int block, class... Params, class... Args>
void launch_grid(const Stream& stream, void (*kernel)(Params...), Grid grid, const Args&... args) {
  launch(kernel, grid, dim3(block), 0, handle(stream), args...);
}

// How many pieces of work a launch is for; made from a number where the launch stands.
struct Work {
  std::int64_t count;
  Grid grid;
  Work(std::int64_t n, Grid where = 1u) : count(n), grid(where) {}
};

// The same for a kernel that is a grid-stride loop over n pieces of work and does nothing else: where there
// are none nothing is launched.
template <int block, int blocks_per_multiprocessor = 16, class... Params, class... Args>
void launch_over(const Stream& stream, void (*kernel)(Params...), Work n, const Args&... args) {
  if (n.count <= 0) return;
  n.grid.x = grid_for(stream, n.count, block, blocks_per_multiprocessor);
  launch(kernel, n.grid, dim3(block), 0, handle(stream), args...);
}

}  // namespace weft::cuda
