// One step of each optimizer; the formulas are in ops/optimizer.h.
#include <cmath>

#include "reference/kernels.h"

namespace weft::reference {

namespace {

template <class T>
T gradient(const T* grad, const T* param, std::int64_t i, bool maximize, double weight_decay) {
  const T g = maximize ? -grad[i] : grad[i];
  return weight_decay == 0 ? g : g + static_cast<T>(weight_decay) * param[i];
}

}  // namespace

void sgd_step(Stream&, const SgdArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto *w = static_cast<T*>(a.param), *b = static_cast<T*>(a.momentum_buffer);
    const auto* grad = static_cast<const T*>(a.grad);
    const T lr = static_cast<T>(a.lr[0]),
            momentum = static_cast<T>(a.momentum_now ? *a.momentum_now : a.momentum);
    const T keep = static_cast<T>(1 - a.dampening);
    for (std::int64_t i = 0; i < a.n; ++i) {
      T g = gradient(grad, w, i, a.maximize, a.weight_decay);
      if (b) {
        b[i] = a.step[0] == 0 ? g : momentum * b[i] + keep * g;
        g = a.nesterov ? g + momentum * b[i] : b[i];
      }
      w[i] -= lr * g;
    }
  });
  *a.step = counted_up(*a.step);
}

void adagrad_step(Stream&, const AdagradArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto *w = static_cast<T*>(a.param), *s = static_cast<T*>(a.square_sum);
    const auto* grad = static_cast<const T*>(a.grad);
    const T lr = static_cast<T>(a.lr[0] / (1 + static_cast<double>(a.step[0]) * a.lr_decay));
    for (std::int64_t i = 0; i < a.n; ++i) {
      const T g = gradient(grad, w, i, a.maximize, a.weight_decay);
      s[i] += g * g;
      w[i] -= lr * g / (std::sqrt(s[i]) + static_cast<T>(a.eps));
    }
  });
  *a.step = counted_up(*a.step);
}

void rmsprop_step(Stream&, const RmspropArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto *w = static_cast<T*>(a.param), *s = static_cast<T*>(a.square_average);
    auto *mean = static_cast<T*>(a.grad_average), *b = static_cast<T*>(a.momentum_buffer);
    const auto* grad = static_cast<const T*>(a.grad);
    const T alpha = static_cast<T>(a.alpha), rest = static_cast<T>(1 - a.alpha);
    const T lr = static_cast<T>(a.lr[0]),
            momentum = static_cast<T>(a.momentum_now ? *a.momentum_now : a.momentum);
    for (std::int64_t i = 0; i < a.n; ++i) {
      const T g = gradient(grad, w, i, a.maximize, a.weight_decay);
      s[i] = alpha * s[i] + rest * g * g;
      T variance = s[i];
      if (mean) {
        mean[i] = alpha * mean[i] + rest * g;
        variance = s[i] - mean[i] * mean[i];
        if (variance < 0) variance = 0;  // by rounding only
      }
      T update = g / (std::sqrt(variance) + static_cast<T>(a.eps));
      if (b) update = b[i] = momentum * b[i] + update;
      w[i] -= lr * update;
    }
  });
  if (a.step) *a.step = counted_up(*a.step);
}

void adam_step(Stream&, const AdamArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto *w = static_cast<T*>(a.param), *m = static_cast<T*>(a.first_moment);
    auto* v = static_cast<T*>(a.second_moment);
    const auto* grad = static_cast<const T*>(a.grad);
    const double step = static_cast<double>(a.step[0]) + 1, beta1_now = a.beta1_now ? *a.beta1_now : a.beta1;
    const T lr = static_cast<T>(a.lr[0] / (1 - std::pow(beta1_now, step)));
    const T correction = static_cast<T>(1 - std::pow(a.beta2, step));
    const T shrink = static_cast<T>(1 - a.lr[0] * a.weight_decay);
    for (std::int64_t i = 0; i < a.n; ++i) {
      const T g = gradient(grad, w, i, a.maximize, a.decoupled ? 0 : a.weight_decay);
      if (a.decoupled) w[i] *= shrink;
      m[i] = static_cast<T>(beta1_now) * m[i] + static_cast<T>(1 - beta1_now) * g;
      v[i] = static_cast<T>(a.beta2) * v[i] + static_cast<T>(1 - a.beta2) * g * g;
      w[i] -= lr * m[i] / (std::sqrt(v[i] / correction) + static_cast<T>(a.eps));
    }
  });
  *a.step = counted_up(*a.step);
}

void add_squares(Stream&, const AddSquaresArgs& a) {
  if (a.first) a.total[0] = 0;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (int part = 0; part < a.count; ++part)
      for (std::int64_t i = 0; i < a.parts[part].n; ++i) {
        const double x = static_cast<const T*>(a.parts[part].x)[i];
        a.total[0] += x * x;
      }
  });
  if (a.last) a.total[0] = std::sqrt(a.total[0]);
}

void clip_scale(Stream&, const ClipScaleArgs& a) {
  const double scale = a.max_norm / (a.norm[0] + 1e-6);
  if (scale >= 1) return;  // a norm of NaN scales: what went wrong stays visible
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t i = 0; i < a.n; ++i) static_cast<T*>(a.grad)[i] *= static_cast<T>(scale);
  });
}

}  // namespace weft::reference
