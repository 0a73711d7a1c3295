// Reductions of one contiguous row of floats, in 16 running results that are joined in a fixed order: the
// compiler may use vectors, and the order of the sum is the same on every instruction set's own terms.
#pragma once
#include "cpu/parallel.h"
#include "cpu/simd/math.h"

namespace weft::cpu::WEFT_ISA {

constexpr int row_lanes = 16;

// Rows that make a piece of work of a fixed size.
[[gnu::always_inline]] inline std::int64_t rows_per_task(std::int64_t n) {
  return max_of<std::int64_t>(1, 4096 / max_of<std::int64_t>(1, n));
}

// join(... f(i) for i < n ...), beginning with `start`.
template <class F, class Join>
[[gnu::always_inline]] inline float reduce_row(std::int64_t n, float start, F&& f, Join&& join) {
  float part[row_lanes];
  for (int l = 0; l < row_lanes; ++l) part[l] = start;
  std::int64_t i = 0;
  for (; i + row_lanes <= n; i += row_lanes)
#pragma omp simd  // else the compiler unrolls this loop whole before it could become vectors
    for (int l = 0; l < row_lanes; ++l) part[l] = join(part[l], f(i + l));
  for (int l = 0; i < n; ++i, ++l) part[l] = join(part[l], f(i));
  for (int half = row_lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) part[l] = join(part[l], part[l + half]);
  return part[0];
}

[[gnu::always_inline]] inline float add_of(float a, float b) { return a + b; }

// NaN wins.
[[gnu::always_inline]] inline float larger_of(float a, float b) { return a != a || b <= a ? a : b; }

[[gnu::always_inline]] inline float row_max(const float* x, std::int64_t n) {
  return reduce_row(n, -__builtin_inff(), [=](std::int64_t i) { return x[i]; }, larger_of);
}
[[gnu::always_inline]] inline float row_sum(const float* x, std::int64_t n) {
  return reduce_row(n, 0, [=](std::int64_t i) { return x[i]; }, add_of);
}
[[gnu::always_inline]] inline float row_dot(const float* x, const float* y, std::int64_t n) {
  return reduce_row(n, 0, [=](std::int64_t i) { return x[i] * y[i]; }, add_of);
}
// sum of exp(x - shift)
[[gnu::always_inline]] inline float row_sum_exp(const float* x, float shift, std::int64_t n) {
  return reduce_row(n, 0, [=](std::int64_t i) { return exp(x[i] - shift); }, add_of);
}

}  // namespace weft::cpu::WEFT_ISA
