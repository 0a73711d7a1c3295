// Batch and row normalization; see ops/norm.h. What the methods here don't take goes to the naive kernels.
//
// Batch normalization of rows of channels and of small planes have files of their own, batch_norm_rows.cpp
// and batch_norm_small.cpp.
//
// Batch normalization, planes of 4 values at least: a task is a group of neighbouring channels with all their
// images. Its statistics, or the backward's sums, are finished before it writes anything, so the second sweep
// over its values finds them in the second-level cache: memory is read once and written once. Groups depend
// on the problem alone, and nothing is shared between them: the same bits for any number of threads.
//
// Mean and variance: in blocks that lie in the first-level cache, first the block's mean, then the sums of
// x - mean and of its square; blocks are joined in double (Chan, Golub, LeVeque 1979). A mean that is large
// beside the deviation costs no digits that way.
#include "cpu/batch_norm.h"
#include "cpu/denormals.h"
#include "cpu/kernels.h"
#include "cpu/norm_groups.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"
#include "cpu/scratch.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr int lanes = 16;
constexpr std::int64_t block_values = 4096, most_images = 16, most_channels = 64, cache_bytes = 256 << 10;

// How (N, C, L) is cut: into groups of channels, and each channel into blocks of whole planes, or of parts of
// one plane.
struct Cut {
  std::int64_t N, C, L, channels, groups, images, places, blocks;

  Cut(std::int64_t N, std::int64_t C, std::int64_t L, std::int64_t size) : N(N), C(C), L(L) {
    const std::int64_t fitting = cache_bytes / max_of<std::int64_t>(1, N * L * size);
    const std::int64_t whole_lines = ceil_div(256, L * size);
    channels = max_of(min_of(fitting, C / 8), whole_lines);
    channels = max_of<std::int64_t>(1, min_of(min_of(channels, most_channels), C));
    groups = ceil_div(C, channels);
    places = min_of(L, block_values);
    images = L > block_values ? 1 : max_of<std::int64_t>(1, min_of(most_images, block_values / L));
    blocks = ceil_div(N, images) * ceil_div(L, places);
  }

  // f(first value, values, rows) for block b of channel c: `rows` stretches, C L apart.
  template <class F>
  [[gnu::always_inline]] void block(std::int64_t b, std::int64_t c, F&& f) const {
    const std::int64_t parts = ceil_div(L, places), n = b / parts * images, l = b % parts * places;
    f((n * C + c) * L + l, min_of(places, L - l), min_of(images, N - n));
  }

  // f(block, channel, number of the channel in its group) in the order in which memory lies.
  template <class F>
  [[gnu::always_inline]] void each(std::int64_t group, F&& f) const {
    const std::int64_t first = group * channels, count = min_of(channels, C - first);
    for (std::int64_t b = 0; b < blocks; ++b)
      for (std::int64_t k = 0; k < count; ++k) f(b, first + k, k);
  }
};

template <class T>
[[gnu::always_inline]] inline double total(T* part) {
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) part[l] += part[l + half];
  return part[0];
}

// The sums of first(i) and second(i) over `rows` stretches of n values, `stride` apart.
template <class T, class F>
[[gnu::always_inline]] inline void sum_two(std::int64_t n, std::int64_t rows, std::int64_t stride,
                                           double* sums, F&& f) {
  T p[lanes] = {}, q[lanes] = {};
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t at = r * stride;
    std::int64_t i = 0;
    for (; i + lanes <= n; i += lanes)
#pragma omp simd
      for (int l = 0; l < lanes; ++l) {
        T first, second;
        f(at + i + l, first, second);
        p[l] += first;
        q[l] += second;
      }
    for (int l = 0; i < n; ++i, ++l) {
      T first, second;
      f(at + i, first, second);
      p[l] += first;
      q[l] += second;
    }
  }
  sums[0] = total(p);
  sums[1] = total(q);
}

template <class T>
[[gnu::always_inline]] inline double sum_one(std::int64_t n, std::int64_t rows, std::int64_t stride,
                                             const T* x) {
  T p[lanes] = {};
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * stride;
    std::int64_t i = 0;
    for (; i + lanes <= n; i += lanes)
#pragma omp simd
      for (int l = 0; l < lanes; ++l) p[l] += row[i + l];
    for (int l = 0; i < n; ++i, ++l) p[l] += row[i];
  }
  return total(p);
}

template <class T>
void add_block(Moments& m, const T* x, std::int64_t n, std::int64_t rows, std::int64_t stride) {
  const double count = static_cast<double>(n * rows);
  const T center = static_cast<T>(sum_one(n, rows, stride, x) / count);
  double sums[2];
  sum_two<T>(n, rows, stride, sums, [&](std::int64_t i, T& first, T& second) {
    first = x[i] - center;
    second = first * first;
  });
  const double mean = center + sums[0] / count, squares = sums[1] - sums[0] * sums[0] / count;
  const double all = m.count + count, gap = mean - m.mean;
  m.mean += gap * (count / all);
  m.squares += squares + gap * gap * (m.count * count / all);
  m.count = all;
}

template <class T, bool relu, bool residual>
void write_block(const BatchNormArgs& a, const ChannelMap<T> map, std::int64_t at, std::int64_t n,
                 std::int64_t rows, std::int64_t stride) {
  for (std::int64_t r = 0; r < rows; ++r, at += stride) {
    const T* x = static_cast<const T*>(a.x) + at;
    const T* add = static_cast<const T*>(a.residual) + (residual ? at : 0);
    T* __restrict out = static_cast<T*>(a.out) + at;
    for (std::int64_t i = 0; i < n; ++i) {
      T v = map(x[i]);
      if (residual) v += add[i];
      out[i] = relu && v <= 0 ? T(0) : v;
    }
  }
}

template <class T, bool relu, bool residual>
void forward(const BatchNormArgs& a) {
  const Cut cut(a.N, a.C, a.L, sizeof(T));
  parallel_tasks(cut.groups, 3 * a.N * a.C * a.L, [&](std::int64_t group) {
    Moments moments[most_channels] = {};
    if (a.training)
      cut.each(group, [&](std::int64_t b, std::int64_t c, std::int64_t k) {
        cut.block(b, c, [&](std::int64_t at, std::int64_t n, std::int64_t rows) {
          add_block(moments[k], static_cast<const T*>(a.x) + at, n, rows, a.C * a.L);
        });
      });
    const std::int64_t first = group * cut.channels;
    for (std::int64_t k = 0; k < min_of(cut.channels, a.C - first); ++k)
      finish_channel<T>(a, first + k, moments[k]);
    cut.each(group, [&](std::int64_t b, std::int64_t c, std::int64_t) {
      const ChannelMap<T> map(a.mean, a.inv_std, a.gamma, a.beta, c);
      cut.block(b, c, [&](std::int64_t at, std::int64_t n, std::int64_t rows) {
        write_block<T, relu, residual>(a, map, at, n, rows, a.C * a.L);
      });
    });
  });
}

template <class T>
void forward_of(const BatchNormArgs& a) {
  if (a.relu) return a.residual ? forward<T, true, true>(a) : forward<T, true, false>(a);
  return a.residual ? forward<T, false, true>(a) : forward<T, false, false>(a);
}

// sums: of g and of g (x - mean). g is stored too where the residual's gradient is asked for.
template <class T, Mask mask>
void sum_block(const BatchNormBackwardArgs& a, const ChannelMap<T> map, double* sums, std::int64_t at,
               std::int64_t n, std::int64_t rows, std::int64_t stride) {
  const T *x = static_cast<const T*>(a.x) + at, *dout = static_cast<const T*>(a.dout) + at;
  const T* out = static_cast<const T*>(a.out) + (mask == Mask::by_output ? at : 0);
  double two[2];
  if (a.dresidual) {
    T* __restrict g = static_cast<T*>(a.dresidual) + at;
    sum_two<T>(n, rows, stride, two, [&](std::int64_t i, T& first, T& second) {
      first = behind_relu<T, mask>(map, dout[i], x[i], out, i);
      second = first * (x[i] - map.mean);
      g[i] = first;
    });
  } else {
    sum_two<T>(n, rows, stride, two, [&](std::int64_t i, T& first, T& second) {
      first = behind_relu<T, mask>(map, dout[i], x[i], out, i);
      second = first * (x[i] - map.mean);
    });
  }
  sums[0] += two[0];
  sums[1] += two[1];
}

// dx = scale (g - first - (x - mean) second).
template <class T, Mask mask>
void gradient_block(const BatchNormBackwardArgs& a, const ChannelMap<T> map, T first, T second,
                    std::int64_t at, std::int64_t n, std::int64_t rows, std::int64_t stride) {
  for (std::int64_t r = 0; r < rows; ++r, at += stride) {
    const T *x = static_cast<const T*>(a.x) + at, *dout = static_cast<const T*>(a.dout) + at;
    const T* out = static_cast<const T*>(a.out) + (mask == Mask::by_output ? at : 0);
    T* __restrict dx = static_cast<T*>(a.dx) + at;
    for (std::int64_t i = 0; i < n; ++i) {
      const T g = behind_relu<T, mask>(map, dout[i], x[i], out, i);
      dx[i] = map.scale * (g - first - (x[i] - map.mean) * second);
    }
  }
}

template <class T, Mask mask>
void backward(const BatchNormBackwardArgs& a) {
  const Cut cut(a.N, a.C, a.L, 2 * sizeof(T));
  const double M = static_cast<double>(a.N * a.L);
  BatchNormBackwardArgs masked = a;  // the second sweep finds g where the first one stored it
  if (a.dresidual) masked.dout = a.dresidual;
  parallel_tasks(cut.groups, 4 * a.N * a.C * a.L, [&](std::int64_t group) {
    double sums[most_channels][2] = {};
    cut.each(group, [&](std::int64_t b, std::int64_t c, std::int64_t k) {
      const ChannelMap<T> map(a.mean, a.inv_std, a.gamma, a.beta, c);
      cut.block(b, c, [&](std::int64_t at, std::int64_t n, std::int64_t rows) {
        sum_block<T, mask>(a, map, sums[k], at, n, rows, a.C * a.L);
      });
    });
    const std::int64_t begin = group * cut.channels;
    for (std::int64_t k = 0; k < min_of(cut.channels, a.C - begin); ++k) {
      const T inv_std = static_cast<const T*>(a.inv_std)[begin + k];
      if (a.dbeta) static_cast<T*>(a.dbeta)[begin + k] = static_cast<T>(sums[k][0]);
      if (a.dgamma) static_cast<T*>(a.dgamma)[begin + k] = static_cast<T>(sums[k][1] * inv_std);
      sums[k][0] = a.training ? sums[k][0] / M : 0;
      sums[k][1] = a.training ? sums[k][1] / M * inv_std * inv_std : 0;
    }
    if (!a.dx) return;
    cut.each(group, [&](std::int64_t b, std::int64_t c, std::int64_t k) {
      const ChannelMap<T> map(a.mean, a.inv_std, a.gamma, a.beta, c);
      const T first = static_cast<T>(sums[k][0]), second = static_cast<T>(sums[k][1]);
      cut.block(b, c, [&](std::int64_t at, std::int64_t n, std::int64_t rows) {
        if (a.dresidual)
          gradient_block<T, Mask::none>(masked, map, first, second, at, n, rows, a.C * a.L);
        else
          gradient_block<T, mask>(a, map, first, second, at, n, rows, a.C * a.L);
      });
    });
  });
}

template <class T>
void backward_of(const BatchNormBackwardArgs& a) {
  if (!a.relu) return backward<T, Mask::none>(a);
  return a.out ? backward<T, Mask::by_output>(a) : backward<T, Mask::by_input>(a);
}

bool has_planes(std::int64_t N, std::int64_t C, std::int64_t L) { return N * C > 0 && L >= 4; }

// --- layer normalization, float32: one row at a time, which lies in the cache

void layer_row(const RowNormArgs& a, std::int64_t row) {
  const std::int64_t n = a.channels;
  const float* x = static_cast<const float*>(a.x) + row * n;
  float* __restrict out = static_cast<float*>(a.out) + row * n;
  ask_for_row(x + 2 * n, n);
  const float count = static_cast<float>(n), center = row_sum(x, n) / count;
  double sums[2];
  sum_two<float>(n, 1, 0, sums, [&](std::int64_t i, float& first, float& second) {
    first = x[i] - center;
    second = first * first;
  });
  const double mean = center + sums[0] / n, var = (sums[1] - sums[0] * sums[0] / n) / n;
  const float shift = static_cast<float>(mean), scale = static_cast<float>(1 / __builtin_sqrt(var + a.eps));
  static_cast<float*>(a.mean)[row] = shift;
  static_cast<float*>(a.inv_std)[row] = scale;
  const auto *gamma = static_cast<const float*>(a.gamma), *beta = static_cast<const float*>(a.beta);
  if (gamma && beta)
    for (std::int64_t i = 0; i < n; ++i) out[i] = (x[i] - shift) * scale * gamma[i] + beta[i];
  else
    for (std::int64_t i = 0; i < n; ++i)
      out[i] = (x[i] - shift) * scale * value_or(gamma, i, 1.0f) + value_or(beta, i, 0.0f);
}

// One row's dx, and what it adds to dgamma and dbeta.
void layer_row_backward(const RowNormBackwardArgs& a, std::int64_t row, const float* __restrict gamma,
                        float* __restrict dgamma, float* __restrict dbeta) {
  const std::int64_t n = a.channels;
  const auto *x = static_cast<const float*>(a.x) + row * n,
             *dout = static_cast<const float*>(a.dout) + row * n;
  const float mean = static_cast<const float*>(a.mean)[row],
              scale = static_cast<const float*>(a.inv_std)[row];
  ask_for_row(x + n, n);
  ask_for_row(dout + n, n);
  for (std::int64_t i = 0; i < n; ++i) {
    dgamma[i] += dout[i] * ((x[i] - mean) * scale);
    dbeta[i] += dout[i];
  }
  if (!a.dx) return;
  double sums[2];
  sum_two<float>(n, 1, 0, sums, [&](std::int64_t i, float& first, float& second) {
    first = dout[i] * gamma[i];
    second = first * ((x[i] - mean) * scale);
  });
  const float first = static_cast<float>(sums[0] / n), second = static_cast<float>(sums[1] / n);
  float* __restrict dx = static_cast<float*>(a.dx) + row * n;
  for (std::int64_t i = 0; i < n; ++i)
    dx[i] = scale * (dout[i] * gamma[i] - first - (x[i] - mean) * scale * second);
}

// Rows in at most 64 pieces, each with sums of its own that are added in order.
void layer_backward(const RowNormBackwardArgs& a) {
  const std::int64_t n = a.channels, rows_each = max_of(ceil_div(a.rows, 64), rows_per_task(n));
  const std::int64_t pieces = ceil_div(a.rows, rows_each);
  Scratch<float> scratch((2 * pieces + 1) * n);
  float *sums = scratch.data(), *gamma = sums + 2 * pieces * n;
  for (std::int64_t i = 0; i < n; ++i) gamma[i] = value_or(a.gamma, i, 1.0f);
  parallel_tasks(pieces, 6 * a.rows * n, [&](std::int64_t piece) {
    float* own = sums + 2 * piece * n;
    for (std::int64_t i = 0; i < 2 * n; ++i) own[i] = 0;
    for (std::int64_t row = piece * rows_each; row < min_of((piece + 1) * rows_each, a.rows); ++row)
      layer_row_backward(a, row, gamma, own, own + n);
  });
  for (std::int64_t piece = 1; piece < pieces; ++piece)
    for (std::int64_t i = 0; i < 2 * n; ++i) sums[i] += sums[2 * piece * n + i];
  for (std::int64_t i = 0; i < n; ++i) {
    if (a.dgamma) static_cast<float*>(a.dgamma)[i] = sums[i];
    if (a.dbeta) static_cast<float*>(a.dbeta)[i] = sums[n + i];
  }
}

}  // namespace

void batch_norm_forward(Stream& stream, const BatchNormArgs& a) {
  const FlushDenormals flush;
  if (batch_norm_rows_forward(a)) return;
  if (!has_planes(a.N, a.C, a.L)) return reference::batch_norm_forward(stream, a);
  if (a.training && a.num_batches_tracked) *a.num_batches_tracked = counted_up(*a.num_batches_tracked);
  if (batch_norm_small_forward(a)) return;
  return a.dtype == DType::float32 ? forward_of<float>(a) : forward_of<double>(a);
}

void batch_norm_backward(Stream& stream, const BatchNormBackwardArgs& a) {
  const FlushDenormals flush;
  if (batch_norm_rows_backward(a)) return;
  if (!has_planes(a.N, a.C, a.L)) return reference::batch_norm_backward(stream, a);
  return a.dtype == DType::float32 ? backward_of<float>(a) : backward_of<double>(a);
}

void row_norm_forward(Stream& stream, const RowNormArgs& a) {
  const FlushDenormals flush;
  if (a.channels * a.L == 0) return reference::row_norm_forward(stream, a);
  if (a.dtype != DType::float32 || a.L != 1 || a.groups != 1) return group_norm_forward(a);
  parallel_ranges(a.rows, rows_per_task(a.channels), 4 * a.rows * a.channels,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t row = begin; row < end; ++row) layer_row(a, row);
                  });
}

void row_norm_backward(Stream& stream, const RowNormBackwardArgs& a) {
  const FlushDenormals flush;
  if (a.channels * a.L * a.rows == 0) return reference::row_norm_backward(stream, a);
  if (a.dtype != DType::float32 || a.L != 1 || a.groups != 1) return group_norm_backward(a);
  layer_backward(a);
}

}  // namespace weft::cpu::WEFT_ISA
