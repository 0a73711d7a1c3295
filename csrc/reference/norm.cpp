// Batch and row normalization; the formulas are in ops/norm.h. Statistics and sums are kept in double; what
// is saved for backward is rounded to T first, so that backward sees the values that forward used.
#include <cmath>

#include "reference/kernels.h"

namespace weft::reference {

namespace {

template <class T>
T value_or(const void* array, std::int64_t i, T otherwise) {
  return array ? static_cast<const T*>(array)[i] : otherwise;
}

// The gradient through ReLU where its input or output is v.
template <class T>
T through_relu(T dout, T v) {
  return v <= 0 ? T(0) : dout;
}

// Sums f(i) over the values of channel c of (N, C, L).
template <class F>
double channel_sum(std::int64_t N, std::int64_t C, std::int64_t L, std::int64_t c, F f) {
  double sum = 0;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t l = 0; l < L; ++l) sum += f((n * C + c) * L + l);
  return sum;
}

template <class T>
struct ChannelMap {  // v = (x - mean) scale + shift
  ChannelMap(const void* mean, const void* inv_std, const void* gamma, const void* beta, std::int64_t c)
      : mean(static_cast<const T*>(mean)[c]),
        inv_std(static_cast<const T*>(inv_std)[c]),
        scale(this->inv_std * value_or(gamma, c, T(1))),
        shift(value_or(beta, c, T(0))) {}
  T operator()(T x) const { return (x - mean) * scale + shift; }
  T mean, inv_std, scale, shift;
};

// mean and inv_std of channel c, and the running statistics.
template <class T>
void channel_statistics(const BatchNormArgs& a, std::int64_t c) {
  auto *mean = static_cast<T*>(a.mean), *inv_std = static_cast<T*>(a.inv_std);
  auto *running_mean = static_cast<T*>(a.running_mean), *running_var = static_cast<T*>(a.running_var);
  const auto* x = static_cast<const T*>(a.x);
  const std::int64_t M = a.N * a.L;
  double center = 0, var = 0;
  if (!a.training) {
    center = running_mean[c];
    var = running_var[c];
  } else if (M > 0) {
    center = channel_sum(a.N, a.C, a.L, c, [&](std::int64_t i) { return double{x[i]}; }) / M;
    const double squares =
        channel_sum(a.N, a.C, a.L, c, [&](std::int64_t i) { return (x[i] - center) * (x[i] - center); });
    var = squares / M;
    if (running_mean) {
      const double m = a.cumulative ? 1.0 / a.num_batches_tracked[0] : a.momentum;
      running_mean[c] = static_cast<T>((1 - m) * running_mean[c] + m * center);
      running_var[c] = static_cast<T>((1 - m) * running_var[c] + m * squares / (M - 1));
    }
  }
  mean[c] = static_cast<T>(center);
  inv_std[c] = static_cast<T>(1 / std::sqrt(var + a.eps));
}

}  // namespace

void batch_norm_forward(Stream&, const BatchNormArgs& a) {
  if (a.training && a.num_batches_tracked) *a.num_batches_tracked = counted_up(*a.num_batches_tracked);
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t c = 0; c < a.C; ++c) {
      channel_statistics<T>(a, c);
      const ChannelMap<T> map(a.mean, a.inv_std, a.gamma, a.beta, c);
      for (std::int64_t n = 0; n < a.N; ++n)
        for (std::int64_t l = 0; l < a.L; ++l) {
          const std::int64_t i = (n * a.C + c) * a.L + l;
          const T v = map(static_cast<const T*>(a.x)[i]) + value_or(a.residual, i, T(0));
          static_cast<T*>(a.out)[i] = a.relu && v <= 0 ? T(0) : v;
        }
    }
  });
}

void batch_norm_backward(Stream&, const BatchNormBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto *x = static_cast<const T*>(a.x), *dout = static_cast<const T*>(a.dout);
    const double M = static_cast<double>(a.N * a.L);
    for (std::int64_t c = 0; c < a.C; ++c) {
      const ChannelMap<T> map(a.mean, a.inv_std, a.gamma, a.beta, c);
      const auto g = [&](std::int64_t i) {
        return a.relu ? through_relu(dout[i], value_or(a.out, i, map(x[i]))) : dout[i];
      };
      const auto xhat = [&](std::int64_t i) { return (x[i] - map.mean) * map.inv_std; };
      const double sum = channel_sum(a.N, a.C, a.L, c, [&](std::int64_t i) { return double{g(i)}; });
      const double dot =
          channel_sum(a.N, a.C, a.L, c, [&](std::int64_t i) { return double{g(i)} * xhat(i); });
      if (a.dbeta) static_cast<T*>(a.dbeta)[c] = static_cast<T>(sum);
      if (a.dgamma) static_cast<T*>(a.dgamma)[c] = static_cast<T>(dot);
      for (std::int64_t n = 0; n < a.N; ++n)
        for (std::int64_t l = 0; l < a.L; ++l) {
          const std::int64_t i = (n * a.C + c) * a.L + l;
          if (a.dresidual) static_cast<T*>(a.dresidual)[i] = g(i);
          const double centered = a.training ? g(i) - sum / M - xhat(i) * dot / M : g(i);
          if (a.dx) static_cast<T*>(a.dx)[i] = static_cast<T>(map.scale * centered);
        }
    }
  });
}

void row_norm_forward(Stream&, const RowNormArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t n = a.channels * a.L;
    for (std::int64_t row = 0; row < a.rows; ++row) {
      const T* x = static_cast<const T*>(a.x) + row * n;
      double mean = 0, var = 0;
      for (std::int64_t i = 0; i < n; ++i) mean += x[i];
      mean = n > 0 ? mean / n : 0;
      for (std::int64_t i = 0; i < n; ++i) var += (x[i] - mean) * (x[i] - mean);
      const double inv_std = 1 / std::sqrt((n > 0 ? var / n : 0) + a.eps);
      static_cast<T*>(a.mean)[row] = static_cast<T>(mean);
      static_cast<T*>(a.inv_std)[row] = static_cast<T>(inv_std);
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t at = row % a.groups * a.channels + i / a.L;
        static_cast<T*>(a.out)[row * n + i] = static_cast<T>(
            (x[i] - mean) * inv_std * value_or(a.gamma, at, T(1)) + value_or(a.beta, at, T(0)));
      }
    }
  });
}

void row_norm_backward(Stream&, const RowNormBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t n = a.channels * a.L;
    const auto *x = static_cast<const T*>(a.x), *dout = static_cast<const T*>(a.dout);
    const auto xhat = [&](std::int64_t i) {
      return (x[i] - double{static_cast<const T*>(a.mean)[i / n]}) * static_cast<const T*>(a.inv_std)[i / n];
    };
    const auto affine_index = [&](std::int64_t i) { return i / n % a.groups * a.channels + i % n / a.L; };
    for (std::int64_t at = 0; at < a.groups * a.channels; ++at) {
      double sum = 0, dot = 0;
      for (std::int64_t row = at / a.channels; row < a.rows; row += a.groups)
        for (std::int64_t l = 0; l < a.L; ++l) {
          const std::int64_t i = row * n + at % a.channels * a.L + l;
          sum += dout[i];
          dot += dout[i] * xhat(i);
        }
      if (a.dbeta) static_cast<T*>(a.dbeta)[at] = static_cast<T>(sum);
      if (a.dgamma) static_cast<T*>(a.dgamma)[at] = static_cast<T>(dot);
    }
    for (std::int64_t row = 0; a.dx && row < a.rows; ++row) {
      const auto g = [&](std::int64_t i) {
        return dout[i] * double{value_or(a.gamma, affine_index(i), T(1))};
      };
      double sum = 0, dot = 0;
      for (std::int64_t i = row * n; i < (row + 1) * n; ++i) {
        sum += g(i);
        dot += g(i) * xhat(i);
      }
      for (std::int64_t i = row * n; i < (row + 1) * n; ++i)
        static_cast<T*>(a.dx)[i] =
            static_cast<T>(static_cast<const T*>(a.inv_std)[row] * (g(i) - sum / n - xhat(i) * dot / n));
    }
  });
}

}  // namespace weft::reference
