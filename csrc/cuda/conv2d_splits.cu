// Adds the parts of sums that several blocks made: out[i] = f(bias + sum over s of partial[s count + i]), the
// parts in an order that depends on their number alone.
//
//   few parts    a thread per element goes through them
//   many parts   of 32 elements a block of 8 warps; each warp adds every eighth part, then these sums are
//   added
//
// Bound by memory: 4 (splits + 1) bytes an element / 4.3 TB/s; and at least the latency of a block's chain of
// loads, which is why many parts are shared among warps.
#include "cuda/conv2d_implicit_gemm.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256, columns = 32, rows = block / columns;

__device__ __forceinline__ void finish(const SumOfSplits& a, std::int64_t i, float sum) {
  if (a.bias) sum += a.bias[i / a.inner % a.channels];
  a.out[i] = a.relu && sum <= 0 ? 0.f : sum;
}

__global__ void __launch_bounds__(block) few_kernel(SumOfSplits a) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * block + threadIdx.x; i < a.count;
       i += std::int64_t{gridDim.x} * block) {
    float sum = a.partial[i];
#pragma unroll 4
    for (int s = 1; s < a.splits; ++s) sum += a.partial[s * a.count + i];
    finish(a, i, sum);
  }
}

__global__ void __launch_bounds__(block) many_kernel(SumOfSplits a) {
  SHARED(float, sums, [rows][columns]);
  const int column = threadIdx.x % columns, row = threadIdx.x / columns;
  for (std::int64_t first = std::int64_t{blockIdx.x} * columns; first < a.count;
       first += std::int64_t{gridDim.x} * columns) {
    const std::int64_t i = first + column;
    float sum = 0;
    if (i < a.count) {
#pragma unroll 8
      for (int s = row; s < a.splits; s += rows) sum += a.partial[s * a.count + i];
    }
    sums[row][column] = sum;
    __syncthreads();
    if (row == 0 && i < a.count) {
#pragma unroll
      for (int s = 1; s < rows; ++s) sum += sums[s][column];
      finish(a, i, sum);
    }
    __syncthreads();
  }
}

}  // namespace

void sum_splits(Stream& stream, const SumOfSplits& a) {
  if (a.splits < 2 * rows)
    launch_over<block>(stream, few_kernel, a.count, a);
  else
    launch_grid<block>(stream, many_kernel, grid_for(stream, a.count, columns), a);
}

}  // namespace weft::cuda
