// Losses; the formulas are in ops/loss.h. Sums are kept in double.
#include <cmath>

#include "reference/kernels.h"

namespace weft::reference {

namespace {

double clipped_log(double x) { return std::fmax(std::log(x), -100.0); }

double value(PointwiseLoss kind, double x, double t, double w, double param) {
  const double d = x - t;
  switch (kind) {
    case PointwiseLoss::mse: return d * d;
    case PointwiseLoss::l1: return std::fabs(d);
    case PointwiseLoss::huber: return std::fabs(d) <= param ? d * d / 2 : param * (std::fabs(d) - param / 2);
    case PointwiseLoss::bce:
      if (std::isnan(x)) return x;
      return -w * (t * clipped_log(x) + (1 - t) * clipped_log(1 - x));
    case PointwiseLoss::bce_with_logits:
      return w * ((x > 0 ? x : 0) - x * t + std::log1p(std::exp(-std::fabs(x))));
    case PointwiseLoss::hinge: return param - t * x <= 0 ? 0 : param - t * x;
  }
  return 0;
}

double sign(double d) { return d > 0 ? 1 : d < 0 ? -1 : d; }

// The derivatives by the input and by the target.
void derivative(PointwiseLoss kind, double x, double t, double w, double param, double& dx, double& dt) {
  const double d = x - t;
  switch (kind) {
    case PointwiseLoss::mse: dx = 2 * d; break;
    case PointwiseLoss::l1: dx = sign(d); break;
    case PointwiseLoss::huber: dx = std::fabs(d) <= param ? d : param * sign(d); break;
    case PointwiseLoss::bce:
      // As in torch: the denominator is kept away from 0.
      dx = w * (x - t) / std::fmax(x * (1 - x), 1e-12);
      dt = w * (clipped_log(1 - x) - clipped_log(x));
      return;
    case PointwiseLoss::bce_with_logits:
      dx = w * (1 / (1 + std::exp(-x)) - t);
      dt = -w * x;
      return;
    case PointwiseLoss::hinge:
      dx = param - t * x <= 0 ? 0 : -t;
      dt = param - t * x <= 0 ? 0 : -x;
      return;
  }
  dt = -dx;
}

// The weight that class c of a row has in its loss: sum over c of factor(c) * -log softmax_c.
struct Factors {
  std::int64_t C, inner, ignore_index;
  double smoothing;

  template <class T>
  double operator()(const std::int64_t* target, const T* probabilities, const T* weight,
                    std::int64_t c) const {
    double q = target ? double(*target == c) : double{probabilities[c * inner]};
    q = (1 - smoothing) * q + smoothing / static_cast<double>(C);
    return q * (weight ? double{weight[c]} : 1);
  }
};

}  // namespace

void pointwise_loss_forward(Stream&, const PointwiseLossArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto* x = static_cast<const T*>(a.input);
    const auto* t = static_cast<const T*>(a.target);
    const auto* w = static_cast<const T*>(a.weight);
    auto* out = static_cast<T*>(a.out);
    double sum = 0;
    for (std::int64_t i = 0; i < a.n; ++i) {
      const double loss = value(a.kind, x[i], t[i], w ? double{w[i]} : 1, a.param);
      if (a.reduction == Reduction::none) out[i] = static_cast<T>(loss);
      sum += loss;
    }
    if (a.reduction == Reduction::sum) *out = static_cast<T>(sum);
    if (a.reduction == Reduction::mean) *out = static_cast<T>(sum / static_cast<double>(a.n));
  });
}

void pointwise_loss_backward(Stream&, const PointwiseLossBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto* x = static_cast<const T*>(a.input);
    const auto* t = static_cast<const T*>(a.target);
    const auto* w = static_cast<const T*>(a.weight);
    const auto* dout = static_cast<const T*>(a.dout);
    const double share = a.reduction == Reduction::mean ? 1 / static_cast<double>(a.n) : 1;
    for (std::int64_t i = 0; i < a.n; ++i) {
      const double d = double{dout[a.reduction == Reduction::none ? i : 0]} * share;
      double dx = 0, dt = 0;
      derivative(a.kind, x[i], t[i], w ? double{w[i]} : 1, a.param, dx, dt);
      if (a.dinput) static_cast<T*>(a.dinput)[i] = static_cast<T>(d * dx);
      if (a.dtarget) static_cast<T*>(a.dtarget)[i] = static_cast<T>(d * dt);
    }
  });
}

void cross_entropy_forward(Stream& stream, const CrossEntropyArgs& a) {
  if (a.check.count > 0) check_values(stream, a.check);
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const Factors factor{a.C, a.inner, a.ignore_index, a.label_smoothing};
    const auto* weight = static_cast<const T*>(a.weight);
    double sum = 0, total = 0;
    for (std::int64_t row = 0; row < a.N * a.inner; ++row)
      if (!a.target || a.target[row] != a.ignore_index)
        total += a.target && weight ? double{weight[a.target[row]]} : 1;
    const double share = a.reduction == Reduction::mean ? 1 / total : 1;
    for (std::int64_t row = 0; row < a.N * a.inner; ++row) {
      const std::int64_t start = row / a.inner * a.C * a.inner + row % a.inner;
      const T* x = static_cast<const T*>(a.logits) + start;
      const T* q = a.probabilities ? static_cast<const T*>(a.probabilities) + start : nullptr;
      const std::int64_t* target = a.target ? a.target + row : nullptr;
      const bool ignored = target && *target == a.ignore_index;
      double largest = x[0], exponentials = 0, loss = 0, all = 0;
      for (std::int64_t c = 1; c < a.C; ++c)
        if (!(double{x[c * a.inner]} <= largest)) largest = x[c * a.inner];
      for (std::int64_t c = 0; c < a.C; ++c) exponentials += std::exp(double{x[c * a.inner]} - largest);
      const double lse = largest + std::log(exponentials);
      for (std::int64_t c = 0; c < a.C && !ignored; ++c) {
        const double f = factor(target, q, weight, c);
        if (f != 0) loss += f * (lse - double{x[c * a.inner]});
        all += f;
      }
      for (std::int64_t c = 0; c < a.C && a.dlogits; ++c) {
        const double softmax = std::exp(double{x[c * a.inner]} - lse);
        static_cast<T*>(a.dlogits)[start + c * a.inner] =
            ignored ? T(0) : static_cast<T>(share * (all * softmax - factor(target, q, weight, c)));
      }
      if (a.reduction == Reduction::none) static_cast<T*>(a.out)[row] = static_cast<T>(loss);
      sum += loss;
    }
    if (a.reduction == Reduction::sum) *static_cast<T*>(a.out) = static_cast<T>(sum);
    if (a.reduction == Reduction::mean) *static_cast<T*>(a.out) = static_cast<T>(sum / total);
  });
}

void cross_entropy_backward(Stream&, const CrossEntropyBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto *dlogits = static_cast<const T*>(a.dlogits), *dout = static_cast<const T*>(a.dout);
    for (std::int64_t i = 0; i < a.N * a.C * a.inner; ++i) {
      const std::int64_t row = i / (a.C * a.inner) * a.inner + i % a.inner;
      static_cast<T*>(a.out)[i] = dlogits[i] * dout[a.reduction == Reduction::none ? row : 0];
    }
  });
}

}  // namespace weft::reference
