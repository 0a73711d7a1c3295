// Activation functions and their derivatives; the formulas are in ops/activation.h.
#include <cmath>

#include "reference/kernels.h"

namespace weft::reference {

namespace {

constexpr double inverse_sqrt_2 = 0.70710678118654752440;
constexpr double inverse_sqrt_2pi = 0.39894228040143267794;
constexpr double sqrt_2_over_pi = 0.79788456080286535588;

template <class T>
T sigmoid(T x) {  // no overflow on either side
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}

template <class T>
T forward(Activation kind, T x, T alpha) {
  switch (kind) {
    case Activation::none: return x;
    case Activation::step: return x > 0 ? T(1) : T(0);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::tanh: return std::tanh(x);
    case Activation::relu: return x <= 0 ? T(0) : x;
    case Activation::leaky_relu: return x > 0 ? x : alpha * x;
    case Activation::elu: return x > 0 ? x : alpha * std::expm1(x);
    case Activation::softplus: return alpha * x > 20 ? x : std::log1p(std::exp(alpha * x)) / alpha;
    case Activation::gelu: return x / 2 * std::erfc(-x * T(inverse_sqrt_2));  // 1 + erf would cancel
    case Activation::gelu_tanh:
      return x / 2 * (1 + std::tanh(T(sqrt_2_over_pi) * (x + T(0.044715) * x * x * x)));
    case Activation::silu: return x * sigmoid(x);
  }
  return x;
}

// `s` is the saved output for sigmoid, tanh and relu, and the input for the others.
template <class T>
T derivative(Activation kind, T s, T alpha) {
  switch (kind) {
    case Activation::none: return 1;
    case Activation::step: return 0;
    case Activation::sigmoid: return s * (1 - s);
    case Activation::tanh: return 1 - s * s;
    case Activation::relu: return s <= 0 ? T(0) : T(1);
    case Activation::leaky_relu: return s > 0 ? T(1) : alpha;
    case Activation::elu: return s > 0 ? T(1) : alpha * std::exp(s);
    case Activation::softplus: return alpha * s > 20 ? T(1) : sigmoid(alpha * s);
    case Activation::gelu:
      return std::erfc(-s * T(inverse_sqrt_2)) / 2 + s * T(inverse_sqrt_2pi) * std::exp(-s * s / 2);
    case Activation::gelu_tanh: {
      const T t = std::tanh(T(sqrt_2_over_pi) * (s + T(0.044715) * s * s * s));
      const T du = T(sqrt_2_over_pi) * (1 + 3 * T(0.044715) * s * s);
      return (1 + t) / 2 + s / 2 * (1 - t * t) * du;
    }
    case Activation::silu: return sigmoid(s) * (1 + s * (1 - sigmoid(s)));
  }
  return 1;
}

}  // namespace

void activation_forward(Stream&, const ActivationArgs& a) {
  dispatch_floating_or_bfloat16(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using Computed = Wide<T>;
    auto* out = static_cast<T*>(a.out);
    const auto* x = static_cast<const T*>(a.x);
    for (std::int64_t i = 0; i < a.n; ++i)
      out[i] = static_cast<T>(forward<Computed>(a.kind, x[i], static_cast<Computed>(a.alpha)));
  });
}

void activation_backward(Stream&, const ActivationBackwardArgs& a) {
  dispatch_floating_or_bfloat16(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using Computed = Wide<T>;
    auto* dx = static_cast<T*>(a.dx);
    const auto* dout = static_cast<const T*>(a.dout);
    const auto* saved = static_cast<const T*>(a.saved);
    const bool chooses = a.kind == Activation::relu || a.kind == Activation::step;
    for (std::int64_t i = 0; i < a.n; ++i) {
      const auto slope = derivative<Computed>(a.kind, saved[i], static_cast<Computed>(a.alpha));
      // Where nothing passes, no infinity and no NaN does.
      dx[i] = static_cast<T>(chooses && slope == 0 ? Computed(0) : dout[i] * slope);
    }
  });
}

}  // namespace weft::reference
