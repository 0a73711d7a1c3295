// Products that are as thin as one row, or as one step of K (a training step with a batch of one): their time
// is that of reading B, or of writing C, from the caches, so each is gone through once in its own order.
//
//   row     M = 1: the sums of up to eight vectors of columns wait in registers while B's rows go by. A
//           tile's two would wait for each other's additions
//   outer   K <= 4: each row of C is written from end to end
#pragma once
#include "cpu/gemm/dots.h"
#include "cpu/gemm/problem.h"

namespace weft::cpu::WEFT_ISA {

constexpr std::int64_t outer_steps = 4;

// --- one row ---

// The columns from n on, NV vectors; the last of these begins at column n_last, and of its lanes only those
// from `skip` on are new.
template <class T, int NV>
void row_panel(const Problem<T>& g, std::int64_t n, std::int64_t n_last, std::int64_t skip) {
  using Vec = typename Tile<T>::Vec;
  constexpr int L = Tile<T>::lanes;
  Vec sum[NV] = {};
  const T *a = g.a, *b = g.b + n, *last = g.b + n_last;
  for (std::int64_t k = 0; k < g.K; ++k, a += g.a_column, b += g.b_row, last += g.b_row) {
    const Vec factor = *a - Vec{};
#pragma GCC unroll 8
    for (int j = 0; j < NV - 1; ++j) sum[j] += factor * *reinterpret_cast<const Vec*>(b + j * L);
    sum[NV - 1] += factor * *reinterpret_cast<const Vec*>(last);
  }
#pragma GCC unroll 8
  for (int j = 0; j < NV - 1; ++j) finish_vector<T>(g, sum[j], 0, n + j * L, L, {true, true});
  if (skip == 0) return finish_vector<T>(g, sum[NV - 1], 0, n_last, L, {true, true});
  T lanes[L];
  *reinterpret_cast<Vec*>(lanes) = sum[NV - 1];
  for (std::int64_t l = skip; l < L; ++l) finish_element<T>(g, lanes[l], 0, n_last + l);
}

template <class T>
using RowPanel = void (*)(const Problem<T>&, std::int64_t, std::int64_t, std::int64_t);

template <class T>
bool takes_row(const Problem<T>& g) {
  return g.M == 1 && g.b_column == 1 && g.N >= Tile<T>::lanes && g.K <= 512;
}

template <class T>
void multiply_row(const Problem<T>& g) {
  constexpr std::int64_t L = Tile<T>::lanes, widest = 8;
  static constexpr RowPanel<T> panel[] = {nullptr,         row_panel<T, 1>, row_panel<T, 2>,
                                          row_panel<T, 3>, row_panel<T, 4>, row_panel<T, 5>,
                                          row_panel<T, 6>, row_panel<T, 7>, row_panel<T, 8>};
  const std::int64_t vectors = ceil_div(g.N, L), panels = ceil_div(vectors, widest);
  for (std::int64_t i = 0; i < panels; ++i) {
    const std::int64_t v = i * vectors / panels, end = (i + 1) * vectors / panels;
    const std::int64_t n_last =
        min_of((end - 1) * L, g.N - L);  // the last vector of all overlaps the one before
    panel[end - v](g, v * L, n_last, (end - 1) * L - n_last);
  }
}

// --- few steps ---

template <class T, int K, bool plain>
void outer_row(const Problem<T>& g, std::int64_t m) {
  using Vec = typename Tile<T>::Vec;
  constexpr std::int64_t L = Tile<T>::lanes;
  T a[K];
  for (int k = 0; k < K; ++k) a[k] = g.a[m * g.a_row + k * g.a_column];
  T* c = g.c + m * g.c_row;
  for (std::int64_t n = 0; n < g.N; n += L) {
    const std::int64_t count = min_of(L, g.N - n);
    Vec sum = {};
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
      const T* b = g.b + k * g.b_row + n;
      sum += a[k] * (count == L ? *reinterpret_cast<const Vec*>(b) : load_some<T>(b, count));
    }
    if (plain && count == L)
      *reinterpret_cast<Vec*>(c + n) = sum;
    else
      finish_vector<T>(g, sum, m, n, count, {true, true});
  }
}

template <class T>
using OuterRow = void (*)(const Problem<T>&, std::int64_t);

template <class T>
bool takes_outer(const Problem<T>& g) {
  return g.K <= outer_steps && g.b_column == 1;
}

template <class T>
void multiply_outer(const Problem<T>& g) {
  static constexpr OuterRow<T> ended[] = {outer_row<T, 1, false>, outer_row<T, 2, false>,
                                          outer_row<T, 3, false>, outer_row<T, 4, false>};
  static constexpr OuterRow<T> plain[] = {outer_row<T, 1, true>, outer_row<T, 2, true>, outer_row<T, 3, true>,
                                          outer_row<T, 4, true>};
  const OuterRow<T> row = (g.alpha == 1 && g.beta == 0 && !g.bias && !g.relu ? plain : ended)[g.K - 1];
  const std::int64_t threads = threads_for(2 * g.M * g.N);
  parallel_tasks(threads, threads * 16384, [&](std::int64_t i) {
    for (std::int64_t m = g.M * i / threads; m < g.M * (i + 1) / threads; ++m) row(g, m);
  });
}

}  // namespace weft::cpu::WEFT_ISA
