// One step of each optimizer over a flat buffer, in one vectorized pass; see ops/optimizer.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t grain = 16384;

[[gnu::always_inline]] inline float root(float x) { return __builtin_sqrtf(x); }
[[gnu::always_inline]] inline double root(double x) { return __builtin_sqrt(x); }

template <class T>
struct Decay {  // g = (maximize ? -grad : grad) + weight_decay w
  T weight_decay;
  bool maximize;
  [[gnu::always_inline]] T operator()(T grad, T w) const {
    const T g = maximize ? -grad : grad;
    return weight_decay == 0 ? g : g + weight_decay * w;
  }
};

template <class T>
void sgd(const SgdArgs& a) {
  const FlushDenormals flush;
  auto *param = static_cast<T*>(a.param), *buffer = static_cast<T*>(a.momentum_buffer);
  const auto* grad = static_cast<const T*>(a.grad);
  const Decay<T> decay{static_cast<T>(a.weight_decay), a.maximize};
  const T lr = static_cast<T>(a.lr[0]),
          momentum = static_cast<T>(a.momentum_now ? *a.momentum_now : a.momentum);
  // In the first step the buffer is overwritten, whatever it holds.
  const bool first = a.step[0] == 0, nesterov = a.nesterov;
  const T keep = static_cast<T>(1 - a.dampening);
  parallel_ranges(a.n, grain, a.n, [=](std::int64_t begin, std::int64_t end) {
    T* __restrict w = param, * __restrict b = buffer;
    const T* __restrict d = grad;
    if (!b) {
      for (std::int64_t i = begin; i < end; ++i) w[i] -= lr * decay(d[i], w[i]);
      return;
    }
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = decay(d[i], w[i]), v = first ? g : momentum * b[i] + keep * g;
      b[i] = v;
      w[i] -= lr * (nesterov ? g + momentum * v : v);
    }
  });
}

template <class T>
void adagrad(const AdagradArgs& a) {
  const FlushDenormals flush;
  auto *param = static_cast<T*>(a.param), *sums = static_cast<T*>(a.square_sum);
  const auto* grad = static_cast<const T*>(a.grad);
  const Decay<T> decay{static_cast<T>(a.weight_decay), a.maximize};
  const T lr = static_cast<T>(a.lr[0] / (1 + static_cast<double>(a.step[0]) * a.lr_decay));
  const T eps = static_cast<T>(a.eps);
  parallel_ranges(a.n, grain, 2 * a.n, [=](std::int64_t begin, std::int64_t end) {
    T* __restrict w = param, * __restrict s = sums;
    const T* __restrict d = grad;
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = decay(d[i], w[i]), sum = s[i] + g * g;
      s[i] = sum;
      w[i] -= lr * g / (root(sum) + eps);
    }
  });
}

template <class T, bool centered, bool with_momentum>
void rmsprop(const RmspropArgs& a) {
  const FlushDenormals flush;
  auto *param = static_cast<T*>(a.param), *squares = static_cast<T*>(a.square_average);
  auto *means = static_cast<T*>(a.grad_average), *buffer = static_cast<T*>(a.momentum_buffer);
  const auto* grad = static_cast<const T*>(a.grad);
  const Decay<T> decay{static_cast<T>(a.weight_decay), a.maximize};
  const T alpha = static_cast<T>(a.alpha), rest = static_cast<T>(1 - a.alpha), eps = static_cast<T>(a.eps);
  const T lr = static_cast<T>(a.lr[0]),
          momentum = static_cast<T>(a.momentum_now ? *a.momentum_now : a.momentum);
  parallel_ranges(a.n, grain, 2 * a.n, [=](std::int64_t begin, std::int64_t end) {
    T* __restrict w = param, * __restrict s = squares, * __restrict m = means, * __restrict b = buffer;
    const T* __restrict d = grad;
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = decay(d[i], w[i]), square = alpha * s[i] + rest * g * g;
      s[i] = square;
      T variance = square;
      if constexpr (centered) {
        const T mean = alpha * m[i] + rest * g;
        m[i] = mean;
        variance = square - mean * mean;
        variance = variance < 0 ? T(0) : variance;  // below zero by rounding only
      }
      T update = g / (root(variance) + eps);
      if constexpr (with_momentum) b[i] = update = momentum * b[i] + update;
      w[i] -= lr * update;
    }
  });
}

template <class T>
void rmsprop_any(const RmspropArgs& a) {
  if (a.grad_average)
    a.momentum_buffer ? rmsprop<T, true, true>(a) : rmsprop<T, true, false>(a);
  else
    a.momentum_buffer ? rmsprop<T, false, true>(a) : rmsprop<T, false, false>(a);
}

template <class T>
void adam(const AdamArgs& a) {
  const FlushDenormals flush;
  auto *param = static_cast<T*>(a.param), *first = static_cast<T*>(a.first_moment);
  auto* second = static_cast<T*>(a.second_moment);
  const auto* grad = static_cast<const T*>(a.grad);
  const Decay<T> decay{static_cast<T>(a.decoupled ? 0 : a.weight_decay), a.maximize};
  const double step = static_cast<double>(a.step[0]) + 1, beta1_now = a.beta1_now ? *a.beta1_now : a.beta1;
  const T lr = static_cast<T>(a.lr[0] / (1 - __builtin_pow(beta1_now, step)));
  // sqrt(v / c) = sqrt(v) / sqrt(c): one division fewer.
  const T inverse_root = static_cast<T>(1 / __builtin_sqrt(1 - __builtin_pow(a.beta2, step)));
  const T shrink = a.decoupled ? static_cast<T>(1 - a.lr[0] * a.weight_decay) : T(1);
  const T beta1 = static_cast<T>(beta1_now), rest1 = static_cast<T>(1 - beta1_now);
  const T beta2 = static_cast<T>(a.beta2), rest2 = static_cast<T>(1 - a.beta2), eps = static_cast<T>(a.eps);
  parallel_ranges(a.n, grain, 2 * a.n, [=](std::int64_t begin, std::int64_t end) {
    T* __restrict w = param, * __restrict m = first, * __restrict v = second;
    const T* __restrict d = grad;
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = decay(d[i], w[i]);
      const T mean = beta1 * m[i] + rest1 * g, square = beta2 * v[i] + rest2 * g * g;
      m[i] = mean;
      v[i] = square;
      w[i] = w[i] * shrink - lr * mean / (root(square) * inverse_root + eps);
    }
  });
}

// In eight lanes of doubles, added in a fixed order.
template <class T>
double squares(const T* x, std::int64_t n) {
  double lane[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; ++k) lane[k] += static_cast<double>(x[i + k]) * static_cast<double>(x[i + k]);
  for (; i < n; ++i) lane[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

void add_part(DType dtype, const AddSquaresArgs::Part& part, double* total) {
  // At most `most` pieces, whose length depends on n alone.
  constexpr std::int64_t most = 256;
  const std::int64_t length = max_of(grain, ceil_div(part.n, most));
  double sums[most];
  parallel_ranges(part.n, length, part.n, [&](std::int64_t begin, std::int64_t end) {
    sums[begin / length] = dtype == DType::float32
                               ? squares(static_cast<const float*>(part.x) + begin, end - begin)
                               : squares(static_cast<const double*>(part.x) + begin, end - begin);
  });
  for (std::int64_t i = 0; i < ceil_div(part.n, length); ++i) total[0] += sums[i];
}

}  // namespace

void sgd_step(Stream&, const SgdArgs& a) {
  a.dtype == DType::float32 ? sgd<float>(a) : sgd<double>(a);
  *a.step = counted_up(*a.step);
}
void adagrad_step(Stream&, const AdagradArgs& a) {
  a.dtype == DType::float32 ? adagrad<float>(a) : adagrad<double>(a);
  *a.step = counted_up(*a.step);
}
void rmsprop_step(Stream&, const RmspropArgs& a) {
  a.dtype == DType::float32 ? rmsprop_any<float>(a) : rmsprop_any<double>(a);
  if (a.step) *a.step = counted_up(*a.step);
}
void adam_step(Stream&, const AdamArgs& a) {
  a.dtype == DType::float32 ? adam<float>(a) : adam<double>(a);
  *a.step = counted_up(*a.step);
}

void add_squares(Stream&, const AddSquaresArgs& a) {
  const FlushDenormals flush;
  if (a.first) a.total[0] = 0;
  for (int part = 0; part < a.count; ++part) add_part(a.dtype, a.parts[part], a.total);
  if (a.last) a.total[0] = root(a.total[0]);
}

void clip_scale(Stream&, const ClipScaleArgs& a) {
  const FlushDenormals flush;
  const double scale = a.max_norm / (a.norm[0] + 1e-6);
  if (scale >= 1) return;  // a norm of NaN scales: what went wrong stays visible
  parallel_ranges(a.n, grain, a.n, [&](std::int64_t begin, std::int64_t end) {
    if (a.dtype == DType::float32)
      for (std::int64_t i = begin; i < end; ++i) static_cast<float*>(a.grad)[i] *= static_cast<float>(scale);
    else
      for (std::int64_t i = begin; i < end; ++i) static_cast<double*>(a.grad)[i] *= scale;
  });
}

}  // namespace weft::cpu::WEFT_ISA
