// An array (outer, n, inner) of which each column of n values belongs together, and the sum of a column's
// exponentials in one pass.
#pragma once
#include "cuda/device/divisor.h"
#include "cuda/device/math.h"
#include "cuda/device/row.h"
#include "cuda/launch.h"

namespace weft::cuda {

template <class T>
struct Larger {
  __device__ static T identity() { return static_cast<T>(-__builtin_huge_val()); }
  // A NaN stays.
  __device__ static T combine(T a, T b) { return a != a || b <= a ? a : b; }
};

// The block as row_block / across rows of `across` threads; a tile is `across` columns of one outer index.
struct Columns {
  std::int64_t n, inner, tiles;
  int across;
  WideDivider of_inner;  // tiles of one outer index

  Columns(std::int64_t outer, std::int64_t length, std::int64_t columns)
      : n(length), inner(columns), across(power_of_two(columns, length <= 64 ? row_block : warp_size)) {
    const std::int64_t inner_tiles = ceil_div(inner, across);
    tiles = outer * inner_tiles;
    of_inner = WideDivider(inner_tiles, tiles);
  }
  dim3 grid() const { return dim3(static_cast<unsigned>(tiles < 0x7fffffff ? tiles : 0x7fffffff)); }
  __device__ int first_row() const { return threadIdx.x / static_cast<unsigned>(across); }
  __device__ int rows() const { return row_block / static_cast<unsigned>(across); }
  // The thread's column: where it starts, and its number of all outer * inner.
  struct Place {
    std::int64_t start, number;
    bool exists;
  };
  __device__ Place place(std::int64_t tile) const {
    const std::int64_t column = of_inner.split(tile) * across + (threadIdx.x & (across - 1));
    return {tile * n * inner + column, tile * inner + column, column < inner};
  }
};

// The largest value so far and the sum of exp(x - largest). It starts at the least finite number, so that
// values of minus infinity add 0; a row of nothing else ends as 0 / 0.
template <class T>
struct alignas(16) Online {
  double sum;
  T largest;
};
template <class T>
struct JoinOnline {
  __device__ static Online<T> identity() {
    return {0, static_cast<T>(sizeof(T) == 4 ? -3.4028234663852886e38 : -1.7976931348623157e308)};
  }
  __device__ static Online<T> combine(Online<T> a, Online<T> b) {
    const T largest = Larger<T>::combine(a.largest, b.largest);
    return {a.sum * static_cast<double>(math::exp(a.largest - largest)) +
                b.sum * static_cast<double>(math::exp(b.largest - largest)),
            largest};
  }
  __device__ static Online<T> add(Online<T> a, T x) {
    if (x <= a.largest) return {a.sum + static_cast<double>(math::exp(x - a.largest)), a.largest};
    return {a.sum * static_cast<double>(math::exp(a.largest - x)) + 1, x};
  }
};

}  // namespace weft::cuda
