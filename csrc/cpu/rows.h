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

template <class Join>
[[gnu::always_inline]] inline float fold_lanes(float* part, Join&& join) {
  for (int l = 0; l < 8; ++l) part[l] = join(part[l], part[l + 8]);
  for (int l = 0; l < 4; ++l) part[l] = join(part[l], part[l + 4]);
  return join(join(part[0], part[2]), join(part[1], part[3]));
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
  return fold_lanes(part, join);
}

[[gnu::always_inline]] inline float add_of(float a, float b) { return a + b; }

// NaN wins.
[[gnu::always_inline]] inline float larger_of(float a, float b) { return a != a || b <= a ? a : b; }

// The last `rest` elements of a row of n, in the last lanes; `neutral` in the others. Read as a whole group
// that overlaps the one before where the row is long enough: a store of single elements followed by a load of
// all would wait.
[[gnu::always_inline]] inline void row_end(const float* x, std::int64_t n, int rest, float neutral,
                                           float* end) {
  if (n >= row_lanes) {
    x += n - row_lanes;
#pragma omp simd
    for (int l = 0; l < row_lanes; ++l) end[l] = l >= row_lanes - rest ? x[l] : neutral;
  } else {
    for (int l = 0; l < row_lanes; ++l) end[l] = neutral;
    for (int l = 0; l < rest; ++l) end[row_lanes - rest + l] = x[l];
  }
}

// The largest element, NaN passed over: a sum of exponentials after it becomes NaN in any case.
[[gnu::always_inline]] inline float row_max(const float* x, std::int64_t n) {
  const auto larger = [](float a, float b) __attribute__((always_inline)) { return a < b ? b : a; };
  constexpr int wide = 4 * row_lanes;  // four running results: one alone waits for itself
  float part[row_lanes];
  for (int l = 0; l < row_lanes; ++l) part[l] = -__builtin_inff();
  std::int64_t i = 0;
  if (n >= wide) {
    float four[wide];
    for (int l = 0; l < wide; ++l) four[l] = -__builtin_inff();
    for (; i + wide <= n; i += wide)
#pragma omp simd
      for (int l = 0; l < wide; ++l) four[l] = larger(four[l], x[i + l]);
    for (int k = 0; k < wide; k += row_lanes)
#pragma omp simd
      for (int l = 0; l < row_lanes; ++l) part[l] = larger(part[l], four[k + l]);
  }
  for (; i + row_lanes <= n; i += row_lanes)
#pragma omp simd
    for (int l = 0; l < row_lanes; ++l) part[l] = larger(part[l], x[i + l]);
  if (i < n) {
    float end[row_lanes];
    row_end(x, n, static_cast<int>(n - i), -__builtin_inff(), end);
#pragma omp simd
    for (int l = 0; l < row_lanes; ++l) part[l] = larger(part[l], end[l]);
  }
  return fold_lanes(part, larger);
}

// The sum of exp(x - shift); with `keep` each of them goes to out.
template <bool keep>
[[gnu::always_inline]] inline float row_exp(const float* x, float shift, std::int64_t n, float* out) {
  constexpr int L = lanes_of<float>, groups = row_lanes / L;
  FloatVec sums[groups] = {};
  const auto add = [&](const float* from, float* to) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) {
      const FloatVec y = exp_flushed(*reinterpret_cast<const FloatVec*>(from + g * L) - shift);
      if (to) *reinterpret_cast<FloatVec*>(to + g * L) = y;
      sums[g] += y;
    }
  };
  std::int64_t i = 0;
  for (; i + row_lanes <= n; i += row_lanes) add(x + i, keep ? out + i : nullptr);
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    float end[row_lanes];
    row_end(x, n, rest, -__builtin_inff(), end);
    add(end, end);
    if (keep)
      for (int l = 0; l < rest; ++l) out[i + l] = end[row_lanes - rest + l];
  }
  float part[row_lanes];
  for (int g = 0; g < groups; ++g) *reinterpret_cast<FloatVec*>(part + g * L) = sums[g];
  return fold_lanes(part, add_of);
}

// Asks for a row that comes next: joining the lanes of one keeps the processor from looking that far ahead.
[[gnu::always_inline]] inline void ask_for_row(const float* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) __builtin_prefetch(x + i);
}

// log sum exp of `rows` rows of n elements; their logarithms are taken together.
[[gnu::always_inline]] inline void rows_log_sum_exp(const float* x, std::int64_t rows, std::int64_t n,
                                                    float* lse) {
  constexpr std::int64_t group = 64;
  for (std::int64_t first = 0; first < rows; first += group) {
    float largest[group], sum[group];
    const std::int64_t count = min_of(group, rows - first);
    for (std::int64_t j = 0; j < count; ++j) {
      largest[j] = row_max(x + (first + j) * n, n);
      sum[j] = row_exp<false>(x + (first + j) * n, largest[j], n, nullptr);
    }
    for (std::int64_t j = 0; j < count; ++j) lse[first + j] = largest[j] + log(sum[j]);
  }
}

[[gnu::always_inline]] inline float row_sum(const float* x, std::int64_t n) {
  return reduce_row(n, 0, [=](std::int64_t i) { return x[i]; }, add_of);
}
[[gnu::always_inline]] inline float row_dot(const float* x, const float* y, std::int64_t n) {
  return reduce_row(n, 0, [=](std::int64_t i) { return x[i] * y[i]; }, add_of);
}

}  // namespace weft::cpu::WEFT_ISA
