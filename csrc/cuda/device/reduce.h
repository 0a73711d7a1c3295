// Reductions within a warp and a block, in an order that depends on the block's size alone.
//
// An operation is a struct with `static T identity()` and `static T combine(T a, T b)`.
#pragma once
#include "cuda/device/device.h"

namespace weft::cuda {

constexpr int warp_size = 32;
constexpr unsigned all_lanes = 0xffffffffu;

template <class T>
struct Sum {
  __device__ static T identity() { return T(0); }
  __device__ static T combine(T a, T b) { return a + b; }
};

// Every lane gets op over the 32 lanes' values: a butterfly, so a tree of depth 5.
template <class Op, class T>
__device__ __forceinline__ T warp_reduce(T value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2)
    value = Op::combine(value, __shfl_xor_sync(all_lanes, value, offset));
  return value;
}

// Every thread of a block of `Threads`, a multiple of 32, gets op over all threads' values. Has two barriers:
// all threads call it, and may call it again at once.
template <class Op, int Threads, class T>
__device__ __forceinline__ T block_reduce(T value) {
  constexpr int warps = Threads / warp_size;
  static_assert(Threads % warp_size == 0 && warps <= warp_size);
  value = warp_reduce<Op>(value);
  if constexpr (warps == 1) return value;
  SHARED(T, partial, [warps]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = warp_reduce<Op>(lane < warps ? partial[lane] : Op::identity());
  __syncthreads();
  return value;
}

}  // namespace weft::cuda
