// c = a B for a single row a: every number of B is used once, so the memory's speed is the limit and packing
// would only copy it. B is read in the order in which it lies.
#pragma once
#include "cpu/gemm/packed.h"

namespace weft::cpu::WEFT_ISA {

// c[n] of one row from its product `sum`.
template <class T>
[[gnu::always_inline]] inline T finish_element(const GemmArgs& g, T sum, T old, std::int64_t n, bool relu) {
  const T* bias = static_cast<const T*>(g.bias);
  T v = static_cast<T>(g.alpha) * sum;
  if (g.beta != 0) v += static_cast<T>(g.beta) * old;
  if (g.bias_axis == BiasAxis::column) v += bias[n];
  if (g.bias_axis == BiasAxis::row) v += bias[0];
  return relu && v <= 0 ? T(0) : v;
}

// B's columns lie together (B = W^T): dot products.
template <class T>
T dot(const T* a, const T* b, std::int64_t k) {
  using Vec = typename Tile<T>::Vec;
  constexpr int lanes = Tile<T>::lanes;
  Vec s0 = {}, s1 = {}, s2 = {}, s3 = {};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= k; i += 4 * lanes) {
    s0 += *reinterpret_cast<const Vec*>(a + i) * *reinterpret_cast<const Vec*>(b + i);
    s1 += *reinterpret_cast<const Vec*>(a + i + lanes) * *reinterpret_cast<const Vec*>(b + i + lanes);
    s2 += *reinterpret_cast<const Vec*>(a + i + 2 * lanes) * *reinterpret_cast<const Vec*>(b + i + 2 * lanes);
    s3 += *reinterpret_cast<const Vec*>(a + i + 3 * lanes) * *reinterpret_cast<const Vec*>(b + i + 3 * lanes);
  }
  for (; i + lanes <= k; i += lanes)
    s0 += *reinterpret_cast<const Vec*>(a + i) * *reinterpret_cast<const Vec*>(b + i);
  const Vec s = (s0 + s1) + (s2 + s3);
  T total = 0;
  for (int l = 0; l < lanes; ++l) total += s[l];
  for (; i < k; ++i) total += a[i] * b[i];
  return total;
}

template <class T>
void rows_dot(const GemmArgs& g, const T* a, const T* b, T* c, bool relu) {
  parallel_ranges(g.N, 64, g.N * g.K / 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n)
      c[n] = finish_element<T>(g, dot(a, b + n * g.b.column_stride, g.K), g.beta != 0 ? c[n] : T(0), n, relu);
  });
}

// sum[n] += a[k] B[k][n] for the rows k of one block, four at a time: B streams by once, in its own order.
template <class T>
void add_rows(const GemmArgs& g, const T* a, const T* b, std::int64_t begin, std::int64_t end, T* sum) {
  for (std::int64_t n = 0; n < g.N; ++n) sum[n] = 0;
  std::int64_t k = begin;
  for (; k + 4 <= end; k += 4) {
    const T *r0 = b + k * g.b.row_stride, *r1 = r0 + g.b.row_stride, *r2 = r1 + g.b.row_stride,
            *r3 = r2 + g.b.row_stride;
    const T a0 = a[k], a1 = a[k + 1], a2 = a[k + 2], a3 = a[k + 3];
#pragma GCC ivdep  // the sums are our own memory
    for (std::int64_t n = 0; n < g.N; ++n) sum[n] += (a0 * r0[n] + a1 * r1[n]) + (a2 * r2[n] + a3 * r3[n]);
  }
  for (; k < end; ++k) {
    const T* row = b + k * g.b.row_stride;
    const T factor = a[k];
#pragma GCC ivdep
    for (std::int64_t n = 0; n < g.N; ++n) sum[n] += factor * row[n];
  }
}

// B's rows lie together. They are summed in blocks of rows, and the blocks in order.
template <class T>
void rows_add(const GemmArgs& g, const T* a, const T* b, T* c, bool relu) {
  const std::int64_t blocks = max_of<std::int64_t>(1, min_of<std::int64_t>(16, g.K / 64));
  const Scratch<T> sums(blocks * g.N);
  parallel_tasks(blocks, g.N * g.K / 4, [&](std::int64_t i) {
    add_rows(g, a, b, i * g.K / blocks, (i + 1) * g.K / blocks, sums.data() + i * g.N);
  });
  for (std::int64_t n = 0; n < g.N; ++n) {
    T sum = 0;
    for (std::int64_t i = 0; i < blocks; ++i) sum += sums.data()[i * g.N + n];
    c[n] = finish_element<T>(g, sum, g.beta != 0 ? c[n] : T(0), n, relu);
  }
}

// false for a problem of another kind.
template <class T>
bool vector_matrix(const GemmArgs& g, const T* a, const T* b, T* c, bool relu) {
  if (g.M != 1 || g.a.column_stride != 1) return false;
  if (g.b.row_stride == 1) {
    rows_dot<T>(g, a, b, c, relu);
    return true;
  }
  if (g.b.column_stride == 1) {
    rows_add<T>(g, a, b, c, relu);
    return true;
  }
  return false;
}

}  // namespace weft::cpu::WEFT_ISA
