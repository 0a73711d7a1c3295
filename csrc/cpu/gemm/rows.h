// Few rows and a large B whose columns lie together: memory's speed is the limit, so B streams by once, in
// its own order, four of its rows at a time, and the sums of a range of columns wait in the cache. A long K
// is cut into blocks, which are summed in order.
#pragma once
#include "cpu/gemm/problem.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

constexpr int most_rows = 8;

// sum[m][n] = sum over k0 <= k < k1 of a[m][k] B[k][n] for n0 <= n < n1.
template <class T, int M>
void add_rows(const Problem<T>& g, std::int64_t k0, std::int64_t k1, std::int64_t n0, std::int64_t n1,
              T* sum) {
  for (int m = 0; m < M; ++m)
    for (std::int64_t n = n0; n < n1; ++n) sum[m * g.N + n] = 0;
  std::int64_t k = k0;
  for (; k + 4 <= k1; k += 4) {
    const T *r0 = g.b + k * g.b_row, *r1 = r0 + g.b_row, *r2 = r1 + g.b_row, *r3 = r2 + g.b_row;
    T a[M][4];
    for (int m = 0; m < M; ++m)
      for (int i = 0; i < 4; ++i) a[m][i] = g.a[m * g.a_row + (k + i) * g.a_column];
#pragma GCC ivdep  // the sums are our own memory
    for (std::int64_t n = n0; n < n1; ++n)
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
        sum[m * g.N + n] += (a[m][0] * r0[n] + a[m][1] * r1[n]) + (a[m][2] * r2[n] + a[m][3] * r3[n]);
  }
  for (; k < k1; ++k)
    for (int m = 0; m < M; ++m) {
      const T* row = g.b + k * g.b_row;
      const T factor = g.a[m * g.a_row + k * g.a_column];
#pragma GCC ivdep
      for (std::int64_t n = n0; n < n1; ++n) sum[m * g.N + n] += factor * row[n];
    }
}

template <class T>
using AddRows = void (*)(const Problem<T>&, std::int64_t, std::int64_t, std::int64_t, std::int64_t, T*);

template <class T>
void multiply_rows(const Problem<T>& g) {
  using Vec = typename Tile<T>::Vec;
  constexpr int L = Tile<T>::lanes;
  static constexpr AddRows<T> add[] = {add_rows<T, 1>, add_rows<T, 2>, add_rows<T, 3>, add_rows<T, 4>,
                                       add_rows<T, 5>, add_rows<T, 6>, add_rows<T, 7>, add_rows<T, 8>};
  const std::int64_t blocks = g.N >= 2048 ? 1 : max_of<std::int64_t>(1, min_of<std::int64_t>(16, g.K / 256));
  const std::int64_t threads = threads_for(4 * g.M * g.N * g.K);
  const std::int64_t widest = g.M > 4 ? 1024 : 2048, share = ceil_div(g.N * blocks, threads);
  const std::int64_t width = max_of<std::int64_t>(256, ceil_div(min_of(widest, share), 64) * 64);
  const std::int64_t ranges = ceil_div(g.N, width);
  const Scratch<T> sums(blocks * g.M * g.N);
  parallel_tasks(blocks * ranges, threads * 16384, [&](std::int64_t task) {
    const std::int64_t i = task / ranges, n0 = task % ranges * width;
    add[g.M - 1](g, i * g.K / blocks, (i + 1) * g.K / blocks, n0, min_of(g.N, n0 + width),
                 sums.data() + i * g.M * g.N);
  });
  for (std::int64_t m = 0; m < g.M; ++m)
    for (std::int64_t n = 0; n < g.N; n += L) {
      const std::int64_t count = min_of<std::int64_t>(L, g.N - n);
      Vec v = {};
      for (std::int64_t i = 0; i < blocks; ++i) {
        const T* from = sums.data() + (i * g.M + m) * g.N + n;
        v += count == L ? *reinterpret_cast<const Vec*>(from) : load_some<T>(from, count);
      }
      finish_vector<T>(g, v, m, n, count, {true, true});
    }
}

}  // namespace weft::cpu::WEFT_ISA
