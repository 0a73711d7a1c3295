// One product of a batch, with its types resolved, and what happens to a tile on its way into C.
#pragma once
#include "cpu/gemm/tile.h"
#include "cpu/parallel.h"
#include "cpu/simd/lanes.h"
#include "cpu/simd/stream.h"
#include "ops/gemm.h"

namespace weft::cpu::WEFT_ISA {

// C[M,N] = f(alpha A[M,K] B[K,N] + beta C + bias); C's columns lie together. relu: f = relu, else f = 1.
template <class T>
struct Problem {
  std::int64_t M, N, K;
  const T* a;
  std::int64_t a_row, a_column;
  const T* b;
  std::int64_t b_row, b_column;
  T* c;
  std::int64_t c_row;
  T alpha, beta;
  const T* bias;  // may be null
  BiasAxis axis;
  bool relu;
  std::int64_t moved = 0;  // bytes of the operation of which this product is a part
  bool streams = false;    // C is stored past the cache; see can_stream
};

// C^T = B^T A^T: the same product for a C whose rows, not columns, lie together.
inline GemmArgs transposed(const GemmArgs& g) {
  GemmArgs t = g;
  t.M = g.N;
  t.N = g.M;
  t.a = {g.b.data, g.b.column_stride, g.b.row_stride, g.b.batch_stride};
  t.b = {g.a.data, g.a.column_stride, g.a.row_stride, g.a.batch_stride};
  t.c = {g.c.data, g.c.column_stride, g.c.row_stride, g.c.batch_stride};
  t.bias_axis = g.bias_axis == BiasAxis::row      ? BiasAxis::column
                : g.bias_axis == BiasAxis::column ? BiasAxis::row
                                                  : BiasAxis::none;
  return t;
}

// The products run along K in slices of equal length, at most `longest`. Each slice is rounded on its own, so
// their lengths depend on K alone.
struct Slices {
  Slices(std::int64_t K, std::int64_t longest) : count(ceil_div(K, longest)) {
    length = ceil_div(ceil_div(K, count), 8) * 8;
    count = ceil_div(K, length);
  }
  std::int64_t count, length;
};

// Whether C may be stored past the cache: whole lines, each written once, by a product of one slice.
template <class T>
[[gnu::always_inline]] inline bool can_stream(const Problem<T>& g, std::int64_t longest_slice) {
  return stores_lines && sizeof(T) == 4 && g.beta == 0 && g.K <= longest_slice && is_line(g.c) &&
         g.c_row % (64 / static_cast<std::int64_t>(sizeof(T))) == 0;
}

template <class T>
[[gnu::always_inline]] inline void store_vector(T* to, typename Tile<T>::Vec v, bool streams) {
  if constexpr (sizeof(T) == 4)
    if (streams) return stream_line(to, v);
  *reinterpret_cast<typename Tile<T>::Vec*>(to) = v;
}

// How far a slice's tile is to be finished: the first one brings beta C, the last one bias and activation.
struct Stage {
  bool first, last;
};

// One vector of C at (m, n), of which `count` columns exist.
template <class T>
[[gnu::always_inline]] inline void finish_vector(const Problem<T>& g, typename Tile<T>::Vec v, std::int64_t m,
                                                 std::int64_t n, std::int64_t count, Stage stage) {
  using Vec = typename Tile<T>::Vec;
  constexpr int lanes = Tile<T>::lanes;
  T* to = g.c + m * g.c_row + n;
  const bool whole = count >= lanes;
  if (g.alpha != 1) v *= g.alpha;
  const T beta = stage.first ? g.beta : T(1);
  if (beta != 0) v += beta * (whole ? *reinterpret_cast<const Vec*>(to) : load_some<T>(to, count));
  if (stage.last && g.bias) {
    if (g.axis == BiasAxis::row)
      v += g.bias[m];
    else
      v += whole ? *reinterpret_cast<const Vec*>(g.bias + n) : load_some<T>(g.bias + n, count);
  }
  if (stage.last && g.relu) v = v <= 0 ? Vec{} : v;
  if (whole)
    store_vector<T>(to, v, g.streams);
  else
    store_some<T>(to, v, count);
}

// The tile at (m, n), NV vectors a row as multiply_tile left them in `sums`.
template <class T, int NV>
void finish_tile(const Problem<T>& g, const T* sums, std::int64_t m, std::int64_t n, int rows,
                 std::int64_t columns, Stage stage) {
  using Vec = typename Tile<T>::Vec;
  constexpr int lanes = Tile<T>::lanes;
  if (columns >= NV * lanes && g.alpha == 1 && (!stage.first || g.beta == 0)) {
    const bool bias = stage.last && g.bias, relu = stage.last && g.relu;
    Vec add[NV] = {};
    if (bias && g.axis == BiasAxis::column)
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) add[j] = *reinterpret_cast<const Vec*>(g.bias + n + j * lanes);
    T* c = g.c + m * g.c_row + n;
    for (int i = 0; i < rows; ++i, c += g.c_row) {
      if (bias && g.axis == BiasAxis::row)
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) add[j] = g.bias[m + i] - Vec{};
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) {
        Vec v = *reinterpret_cast<const Vec*>(sums + (i * NV + j) * lanes);
        if (!stage.first) v += *reinterpret_cast<const Vec*>(c + j * lanes);
        if (bias) v += add[j];
        if (relu) v = v <= 0 ? Vec{} : v;
        store_vector<T>(c + j * lanes, v, g.streams);
      }
    }
    return;
  }
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < NV; ++j)
      finish_vector<T>(g, *reinterpret_cast<const Vec*>(sums + (i * NV + j) * lanes), m + i, n + j * lanes,
                       columns - j * lanes, stage);
}

// Computes and finishes the tile at (m, n) from k steps of a and b. fetch: see multiply_tile.
template <class T>
[[gnu::always_inline]] inline void tile(const Problem<T>& g, std::int64_t k, const T* a, std::int64_t a_row,
                                        std::int64_t a_step, const T* b, std::int64_t b_step, std::int64_t m,
                                        std::int64_t n, int rows, std::int64_t columns, Stage stage,
                                        bool fetch = false) {
  constexpr int lanes = Tile<T>::lanes;
  alignas(64) T sums[Tile<T>::MR * Tile<T>::NR];
  if (columns > lanes) {
    (fetch ? tile_for<T, 2, true>(rows) : tile_for<T, 2>(rows))(k, a, a_row, a_step, b, b_step, sums);
    finish_tile<T, 2>(g, sums, m, n, rows, columns, stage);
  } else {
    tile_for<T, 1>(rows)(k, a, a_row, a_step, b, b_step, sums);
    finish_tile<T, 1>(g, sums, m, n, rows, columns, stage);
  }
}

// How `tiles_m` by `tiles_n` tiles are dealt to at most `threads` threads: m rows by n columns of pieces, so
// that the largest piece is as small as it can be. What a piece computes does not depend on the cut.
struct Grid {
  Grid(std::int64_t tiles_m, std::int64_t tiles_n, std::int64_t threads) {
    std::int64_t best = tiles_m * tiles_n + 1;
    for (std::int64_t i = 1; i <= threads; ++i) {
      const std::int64_t j = threads / i, size = ceil_div(tiles_m, i) * ceil_div(tiles_n, j);
      if (size < best) {
        best = size;
        m = i;
        n = j;
      }
    }
  }
  std::int64_t count() const { return m * n; }
  std::int64_t m = 1, n = 1;
};

// Threads for `products` multiplications, which run at about 60 a nanosecond.
[[gnu::always_inline]] inline std::int64_t threads_for(std::int64_t products) {
  constexpr std::int64_t worth_a_thread = 128 * 1024;
  if (in_tasks()) return 1;
  return max_of<std::int64_t>(1, min_of<std::int64_t>(num_threads(), products / worth_a_thread));
}

}  // namespace weft::cpu::WEFT_ISA
