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

// B's rows lie together: c += a[k] B[k], for a stretch of columns that stays in the L1 cache.
template <class T>
void rows_add(const GemmArgs& g, const T* a, const T* b, T* c, bool relu) {
  constexpr std::int64_t stretch = 1024;
  parallel_ranges(g.N, stretch, g.N * g.K / 4, [&](std::int64_t begin, std::int64_t end) {
    T sum[stretch];
    const std::int64_t count = end - begin;
    for (std::int64_t n = 0; n < count; ++n) sum[n] = 0;
    for (std::int64_t k = 0; k < g.K; ++k) {
      const T* row = b + k * g.b.row_stride + begin;
      const T factor = a[k];
      for (std::int64_t n = 0; n < count; ++n) sum[n] += factor * row[n];
    }
    for (std::int64_t n = 0; n < count; ++n)
      c[begin + n] = finish_element<T>(g, sum[n], g.beta != 0 ? c[begin + n] : T(0), begin + n, relu);
  });
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
