// Row normalization of any groups, in float or double; see ops/norm.h. x (rows, channels, L).
//
// A task is some rows. A row is contiguous and is read twice or three times in a row, from the second time on
// out of the cache: for the mean, for the squares of the distances to it, and to write. Sums are kept in
// doubles. Backward sums dout and dout (x - mean) for each row and channel; the row's own two sums are those
// with gamma before them, and dgamma and dbeta are added up from them over the rows in order.
#include "cpu/norm_groups.h"

#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr int lanes = 16;
constexpr std::int64_t task_values = 16384;

template <class F>
[[gnu::always_inline]] inline double sum_of(std::int64_t n, F&& f) {
  double part[lanes] = {};
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
#pragma omp simd
    for (int l = 0; l < lanes; ++l) part[l] += f(i + l);
  for (; i < n; ++i) part[0] += f(i);
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) part[l] += part[l + half];
  return part[0];
}

template <class T>
[[gnu::always_inline]] inline T value_at(const void* array, std::int64_t i, T otherwise) {
  return array ? static_cast<const T*>(array)[i] : otherwise;
}

template <class T>
void forward_row(const RowNormArgs& a, std::int64_t row) {
  const std::int64_t n = a.channels * a.L, first = row % a.groups * a.channels;
  const T* x = static_cast<const T*>(a.x) + row * n;
  T* __restrict out = static_cast<T*>(a.out) + row * n;
  const double mean = sum_of(n, [=](std::int64_t i) { return static_cast<double>(x[i]); }) / n;
  const double var = sum_of(n,
                            [=](std::int64_t i) {
                              const double distance = static_cast<double>(x[i]) - mean;
                              return distance * distance;
                            }) /
                     n;
  const T center = static_cast<T>(mean), inv_std = static_cast<T>(1 / __builtin_sqrt(var + a.eps));
  static_cast<T*>(a.mean)[row] = center;
  static_cast<T*>(a.inv_std)[row] = inv_std;
  if (a.L == 1) {
    for (std::int64_t c = 0; c < n; ++c)
      out[c] =
          (x[c] - center) * inv_std * value_at(a.gamma, first + c, T(1)) + value_at(a.beta, first + c, T(0));
    return;
  }
  for (std::int64_t c = 0; c < a.channels; ++c) {
    const T scale = inv_std * value_at(a.gamma, first + c, T(1)), shift = value_at(a.beta, first + c, T(0));
    for (std::int64_t i = c * a.L; i < (c + 1) * a.L; ++i) out[i] = (x[i] - center) * scale + shift;
  }
}

// sums: for each channel of the row that of dout and of dout (x - mean).
template <class T>
void sum_row(const RowNormBackwardArgs& a, const T* dout, const T* x, T mean, double* sums) {
  for (std::int64_t c = 0; c < a.channels; ++c, dout += a.L, x += a.L) {
    double first = 0, second = 0;
    if (a.L < lanes) {
      for (std::int64_t i = 0; i < a.L; ++i) {
        first += dout[i];
        second += static_cast<double>(dout[i]) * (x[i] - mean);
      }
    } else {
      first = sum_of(a.L, [=](std::int64_t i) { return static_cast<double>(dout[i]); });
      second = sum_of(a.L, [=](std::int64_t i) { return static_cast<double>(dout[i] * (x[i] - mean)); });
    }
    sums[2 * c] = first;
    sums[2 * c + 1] = second;
  }
}

template <class T>
void backward_row(const RowNormBackwardArgs& a, std::int64_t row, double* sums) {
  const std::int64_t n = a.channels * a.L, group = row % a.groups * a.channels;
  const T *x = static_cast<const T*>(a.x) + row * n, *dout = static_cast<const T*>(a.dout) + row * n;
  const T mean = static_cast<const T*>(a.mean)[row], inv_std = static_cast<const T*>(a.inv_std)[row];
  sum_row(a, dout, x, mean, sums);
  if (!a.dx) return;
  double sum = 0, dot = 0;
  for (std::int64_t c = 0; c < a.channels; ++c) {
    const double gamma = value_at(a.gamma, group + c, T(1));
    sum += gamma * sums[2 * c];
    dot += gamma * sums[2 * c + 1];
  }
  // dx = inv_std (gamma dout - sum / n - (x - mean) inv_std^2 dot / n)
  const T common = static_cast<T>(sum / n), slope = static_cast<T>(dot * inv_std * inv_std / n);
  T* __restrict dx = static_cast<T*>(a.dx) + row * n;
  for (std::int64_t c = 0; c < a.channels; ++c) {
    const T gamma = value_at(a.gamma, group + c, T(1));
    for (std::int64_t i = c * a.L; i < (c + 1) * a.L; ++i)
      dx[i] = inv_std * (gamma * dout[i] - common - (x[i] - mean) * slope);
  }
}

template <class T>
void add_rows(const RowNormBackwardArgs& a, const double* sums) {
  const std::int64_t affine = a.groups * a.channels;
  parallel_ranges(affine, 64, 2 * a.rows * a.channels, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; ++at) {
      double sum = 0, dot = 0;
      for (std::int64_t row = at / a.channels; row < a.rows; row += a.groups) {
        const double* own = sums + 2 * (row * a.channels + at % a.channels);
        sum += own[0];
        dot += own[1] * static_cast<const T*>(a.inv_std)[row];
      }
      if (a.dbeta) static_cast<T*>(a.dbeta)[at] = static_cast<T>(sum);
      if (a.dgamma) static_cast<T*>(a.dgamma)[at] = static_cast<T>(dot);
    }
  });
}

template <class T>
void backward(const RowNormBackwardArgs& a) {
  const std::int64_t n = a.channels * a.L;
  const Scratch<double> sums(2 * a.rows * a.channels);
  parallel_ranges(a.rows, max_of<std::int64_t>(1, task_values / n), 6 * a.rows * n,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t row = begin; row < end; ++row)
                      backward_row<T>(a, row, sums.data() + 2 * row * a.channels);
                  });
  if (a.dgamma || a.dbeta) add_rows<T>(a, sums.data());
}

}  // namespace

void group_norm_forward(const RowNormArgs& a) {
  const std::int64_t n = a.channels * a.L;
  parallel_ranges(a.rows, max_of<std::int64_t>(1, task_values / n), 4 * a.rows * n,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t row = begin; row < end; ++row)
                      a.dtype == DType::float32 ? forward_row<float>(a, row) : forward_row<double>(a, row);
                  });
}

void group_norm_backward(const RowNormBackwardArgs& a) {
  a.dtype == DType::float32 ? backward<float>(a) : backward<double>(a);
}

}  // namespace weft::cpu::WEFT_ISA
