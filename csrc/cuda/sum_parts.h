// Adds the parts of sums that several blocks made: finish(i, sum over p < parts of sums[p count + i]) for
// i < count. The parts are added in an order that depends on their number alone.
//
//   few parts    a thread per element goes through them
//   many parts   of 32 elements a block of 8 warps; each warp adds every eighth part, then these sums are
//                added
//
// Bound by memory, mostly the L2, where the parts were left: (parts + 1) numbers an element; and at least the
// latency of a block's chain of loads, which is why many parts are shared among warps.
#pragma once
#include "cuda/kernels.h"

namespace weft::cuda {

constexpr int parts_block = 256, parts_columns = 32, parts_rows = parts_block / parts_columns;

template <class T, class Finish>
__global__ void __launch_bounds__(parts_block)
    sum_few_parts(const T* sums, std::int64_t count, int parts, Finish finish) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * parts_block + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * parts_block) {
    T sum = sums[i];
#pragma unroll 4
    for (int p = 1; p < parts; ++p) sum += sums[p * count + i];
    finish(i, sum);
  }
}

template <class T, class Finish>
__global__ void __launch_bounds__(parts_block)
    sum_many_parts(const T* sums, std::int64_t count, int parts, Finish finish) {
  SHARED(T, partial, [parts_rows][parts_columns]);
  const int column = threadIdx.x % parts_columns, row = threadIdx.x / parts_columns;
  for (std::int64_t first = std::int64_t{blockIdx.x} * parts_columns; first < count;
       first += std::int64_t{gridDim.x} * parts_columns) {
    const std::int64_t i = first + column;
    T sum = 0;
    if (i < count) {
#pragma unroll 8
      for (int p = row; p < parts; p += parts_rows) sum += sums[p * count + i];
    }
    partial[row][column] = sum;
    __syncthreads();
    if (row == 0 && i < count) {
#pragma unroll
      for (int r = 1; r < parts_rows; ++r) sum += partial[r][column];
      finish(i, sum);
    }
    __syncthreads();
  }
}

template <class T, class Finish>
void sum_parts(const Stream& stream, const T* sums, std::int64_t count, int parts, const Finish& finish) {
  if (count == 0) return;
  if (parts < 2 * parts_rows)
    launch_over<parts_block>(stream, sum_few_parts<T, Finish>, count, sums, count, parts, finish);
  else
    launch_grid<parts_block>(stream, sum_many_parts<T, Finish>, grid_for(stream, count, parts_columns), sums,
                             count, parts, finish);
}

// The sum is the result.
template <class Out>
struct StoreSum {
  Out* out;
  template <class T>
  __device__ __forceinline__ void operator()(std::int64_t i, T sum) const {
    out[i] = static_cast<Out>(sum);
  }
};

}  // namespace weft::cuda
