// Reductions within a warp and a block, in an order that depends on the block's size alone.
//
// An operation is a struct with `static T identity()` and `static T combine(T a, T b)`, which commutes.
#pragma once
#include <type_traits>

#include "cuda/device/device.h"

namespace weft::cuda {

constexpr int warp_size = 32;
constexpr unsigned all_lanes = 0xffffffffu;

template <class T>
struct Sum {
  __device__ static T identity() { return T(0); }
  __device__ static T combine(T a, T b) { return a + b; }
};

// Two sums at once, moved by one instruction.
struct alignas(16) Pair {
  double first, second;
};
template <>
struct Sum<Pair> {
  __device__ static Pair identity() { return {0, 0}; }
  __device__ static Pair combine(Pair a, Pair b) { return {a.first + b.first, a.second + b.second}; }
};

// The value of lane ^ offset, of a number or of a struct of whole words.
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int offset) {
  if constexpr (std::is_arithmetic_v<T>) {
    return static_cast<T>(__shfl_xor_sync(all_lanes, value, offset));
  } else {
    static_assert(sizeof(T) % 4 == 0);
    unsigned words[sizeof(T) / 4];
    __builtin_memcpy(words, &value, sizeof(T));
#pragma unroll
    for (unsigned& word : words) word = __shfl_xor_sync(all_lanes, word, offset);
    __builtin_memcpy(&value, words, sizeof(T));
    return value;
  }
}

// Every lane gets op over the 32 lanes' values: a butterfly, so a tree of depth 5.
template <class Op, class T>
__device__ __forceinline__ T warp_reduce(T value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2)
    value = Op::combine(value, shuffle_xor(value, offset));
  return value;
}

// The same over each `lanes` neighbouring lanes, a power of two up to 32.
template <class Op, class T>
__device__ __forceinline__ T group_reduce(T value, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2)
    value = Op::combine(value, shuffle_xor(value, offset));
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

// The block as `Threads` / `across` rows of `across` threads, a power of two; thread t stands in column t %
// across. Every thread gets op over its column: first within warps, then over their results in order.
// Barriers as above.
template <class Op, int Threads, class T>
__device__ __forceinline__ T column_reduce(T value, int across) {
  if (across == Threads) return value;
  for (int offset = warp_size / 2; offset >= across; offset /= 2)
    value = Op::combine(value, shuffle_xor(value, offset));
  SHARED(T, partial, [Threads]);
  const int t = threadIdx.x, column = t & (across - 1);
  const bool narrow = across < warp_size;
  const int rows = narrow ? Threads / warp_size : Threads / across;
  if (!narrow)
    partial[t] = value;
  else if (t % warp_size < across)
    partial[t / warp_size * across + column] = value;
  __syncthreads();
  value = partial[column];
  for (int row = 1; row < rows; ++row) value = Op::combine(value, partial[row * across + column]);
  __syncthreads();
  return value;
}

// The least power of two from n upwards, at most `most`.
constexpr int power_of_two(long long n, int most) {
  int p = 1;
  while (p < n && p < most) p *= 2;
  return p;
}

}  // namespace weft::cuda
