// Few rows, and both A and B with their steps of K side by side (B = W^T, as in a linear layer): dot
// products, where nothing needs packing. A tile is `lanes` of them, RM rows by RN columns, each a vector of
// partial sums; at the end all are summed at once, into one vector. What memory holds is read once for RM
// rows.
#pragma once
#include "cpu/gemm/problem.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

// Dot products of RM rows with RN columns, k long: lane i RN + j of the result is row i with column j.
template <class T, int RM, int RN>
[[gnu::always_inline]] inline typename Tile<T>::Vec dots(const T* const (&a)[RM], const T* const (&b)[RN],
                                                         std::int64_t k) {
  using Vec = typename Tile<T>::Vec;
  constexpr int L = Tile<T>::lanes;
  static_assert(RM * RN == L);
  Vec sum[L] = {};
  std::int64_t s = 0;
  for (; s + L <= k; s += L) {
    Vec v[RN];
#pragma GCC unroll 16
    for (int j = 0; j < RN; ++j) v[j] = *reinterpret_cast<const Vec*>(b[j] + s);
#pragma GCC unroll 4
    for (int i = 0; i < RM; ++i) {
      const Vec u = *reinterpret_cast<const Vec*>(a[i] + s);
#pragma GCC unroll 16
      for (int j = 0; j < RN; ++j) sum[i * RN + j] += u * v[j];
    }
  }
  if (s < k) {
    Vec v[RN];
#pragma GCC unroll 16
    for (int j = 0; j < RN; ++j) v[j] = load_some<T>(b[j] + s, k - s);
#pragma GCC unroll 4
    for (int i = 0; i < RM; ++i) {
      const Vec u = load_some<T>(a[i] + s, k - s);
#pragma GCC unroll 16
      for (int j = 0; j < RN; ++j) sum[i * RN + j] += u * v[j];
    }
  }
  return sum_each<T>(sum);
}

// alpha sum + beta C + bias, relu, for one element.
template <class T>
[[gnu::always_inline]] inline void finish_element(const Problem<T>& g, T sum, std::int64_t m,
                                                  std::int64_t n) {
  T& c = g.c[m * g.c_row + n];
  T v = g.alpha * sum;
  if (g.beta != 0) v += g.beta * c;
  if (g.bias) v += g.bias[g.axis == BiasAxis::row ? m : n];
  c = g.relu && v <= 0 ? T(0) : v;
}

// Columns n0..n1 of rows m..m + rows. Rows and columns beyond the end repeat the last one and are dropped.
template <class T, int RM, int RN>
void dot_columns(const Problem<T>& g, std::int64_t m, std::int64_t rows, std::int64_t n0, std::int64_t n1) {
  const T* a[RM];
  for (int i = 0; i < RM; ++i) a[i] = g.a + min_of(m + i, g.M - 1) * g.a_row;
  for (std::int64_t n = n0; n < n1; n += RN) {
    const T* b[RN];
    for (int j = 0; j < RN; ++j) b[j] = g.b + min_of(n + j, g.N - 1) * g.b_column;
    const auto sums = dots<T, RM, RN>(a, b, g.K);
    const std::int64_t columns = min_of<std::int64_t>(RN, n1 - n);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) finish_element<T>(g, sums[i * RN + j], m + i, n + j);
  }
}

template <class T>
void multiply_dots(const Problem<T>& g) {
  constexpr int L = Tile<T>::lanes, RM = L >= 8 ? 4 : L >= 4 ? 2 : 1, RN = L / RM;
  constexpr std::int64_t block = 32;
  const std::int64_t blocks = ceil_div(g.N, block), threads = threads_for(g.M * g.N * g.K);
  const Grid grid(ceil_div(g.M, RM), blocks, threads);
  parallel_tasks(grid.count(), threads * 16384, [&](std::int64_t piece) {
    const std::int64_t i = piece / grid.n, j = piece % grid.n, tiles = ceil_div(g.M, RM);
    for (std::int64_t n = blocks * j / grid.n; n < blocks * (j + 1) / grid.n; ++n)
      for (std::int64_t t = tiles * i / grid.m; t < tiles * (i + 1) / grid.m; ++t) {
        const std::int64_t rows = min_of<std::int64_t>(RM, g.M - t * RM), end = min_of(g.N, (n + 1) * block);
        if (rows == 1)
          dot_columns<T, 1, L>(g, t * RM, rows, n * block, end);
        else if (rows * 2 > RM)
          dot_columns<T, RM, RN>(g, t * RM, rows, n * block, end);
        else
          dot_columns<T, (RM + 1) / 2, L / ((RM + 1) / 2)>(g, t * RM, rows, n * block, end);
      }
  });
}

}  // namespace weft::cpu::WEFT_ISA
