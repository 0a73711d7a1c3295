// Multiply-adds in registers; see ops/limits.h.
//
// flop has an element for each of the host's threads, here for each of as many shares of the device: block b
// counts for share b % threads. A share has whole blocks; each is as large as an SM wants it, with 8 chains a
// thread and 8 warps a scheduler, more than the 4 cycles that a multiply-add takes.
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 1024, chains = 8;

__global__ void __launch_bounds__(block) fma_loop_kernel(FmaLoopArgs a) {
  float sum[chains];
#pragma unroll
  for (int c = 0; c < chains; ++c) sum[c] = static_cast<float>(threadIdx.x + c);
  const float half = 0.5f + static_cast<float>(a.iterations < 0);  // not known to the compiler
#pragma unroll 8
  for (std::int64_t i = 0; i < a.iterations; ++i)
#pragma unroll
    for (int c = 0; c < chains; ++c) sum[c] = sum[c] * half + half;  // tends to 1
  float total = 0;
#pragma unroll
  for (int c = 0; c < chains; ++c) total += sum[c];
  // Each thread's result decides, so that none can be left out.
  const bool sound = __syncthreads_and(total >= 0);
  if (threadIdx.x == 0 && blockIdx.x < a.threads) {
    const std::int64_t blocks = (gridDim.x - blockIdx.x + a.threads - 1) / a.threads;
    a.flop[blockIdx.x] =
        sound ? 2.0 * chains * block * static_cast<double>(a.iterations) * static_cast<double>(blocks) : 0;
  }
}

}  // namespace

void fma_loop(Stream& stream, const FmaLoopArgs& args) {
  if (args.threads == 0) return;
  // Two blocks fill an SM's 2048 threads; at least one block for each share.
  const std::int64_t fill = 2 * std::int64_t{properties(stream).multiprocessors};
  const std::int64_t blocks = fill > args.threads ? fill : args.threads;
  launch_grid<block>(stream, fma_loop_kernel, static_cast<unsigned>(blocks), args);
}

}  // namespace weft::cuda
