// The activation functions; their formulas and the parameter alpha are in ops/activation.h. T is float or
// double: bfloat16 is computed in float.
#pragma once
#include "cuda/device/math.h"
#include "ops/activation.h"

namespace weft::cuda {

// No overflow on either side: the exponential is of -|x|.
template <class T>
__device__ __forceinline__ T sigmoid(T x) {
  const T e = math::exp(-math::fabs(x));
  return (x < 0 ? e : T(1)) / (T(1) + e);  // NaN: e is
}

// The normal distribution's Phi(x) = erfc(-x / sqrt(2)) / 2, where 1 + erf would cancel. In float, for x < 0,
// erfc magnifies its argument's rounding by x^2: so what the product lost is put back with the slope, which
// is about -2 z erfc(z).
__device__ __forceinline__ double normal_cdf(double x) { return math::erfc(-x * 0.70710678118654752440) / 2; }
__device__ __forceinline__ float normal_cdf(float x) {
  constexpr float upper = 0.707106769f, lower = 1.21016175e-8f;  // 1 / sqrt(2)
  const float z = -x * upper, lost = fmaf(-x, lower, fmaf(-x, upper, -z));
  const float y = erfcf(z) / 2;
  return z > 0 && y > 0 ? fmaf(-2 * z * lost, y, y) : y;
}

template <class T>
__device__ __forceinline__ T activate(Activation kind, T x, T alpha) {
  constexpr T sqrt_2_over_pi = T(0.79788456080286535588);
  switch (kind) {
    case Activation::none: return x;
    case Activation::step: return x > 0 ? T(1) : T(0);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::tanh: return math::tanh(x);
    case Activation::relu: return x <= 0 ? T(0) : x;
    case Activation::leaky_relu: return x > 0 ? x : alpha * x;
    case Activation::elu: return x > 0 ? x : alpha * math::expm1(x);
    case Activation::softplus: return alpha * x > 20 ? x : math::log1p(math::exp(alpha * x)) / alpha;
    case Activation::gelu: return x * normal_cdf(x);
    case Activation::gelu_tanh:
      return x / 2 * (1 + math::tanh(sqrt_2_over_pi * (x + T(0.044715) * x * x * x)));
    case Activation::silu: return x * sigmoid(x);
  }
  return x;
}

// The derivative at s: the function's output for sigmoid, tanh and relu, its input for the others.
template <class T>
__device__ __forceinline__ T activation_slope(Activation kind, T s, T alpha) {
  constexpr T inverse_sqrt_2pi = T(0.39894228040143267794);
  constexpr T sqrt_2_over_pi = T(0.79788456080286535588), cubic = T(0.044715);
  switch (kind) {
    case Activation::none: return 1;
    case Activation::step: return 0;
    case Activation::sigmoid: return s * (1 - s);
    case Activation::tanh: return 1 - s * s;
    case Activation::relu: return s <= 0 ? T(0) : T(1);
    case Activation::leaky_relu: return s > 0 ? T(1) : alpha;
    case Activation::elu: return s > 0 ? T(1) : alpha * math::exp(s);
    case Activation::softplus: return alpha * s > 20 ? T(1) : sigmoid(alpha * s);
    case Activation::gelu: return normal_cdf(s) + s * inverse_sqrt_2pi * math::exp(-s * s / 2);
    case Activation::gelu_tanh: {
      const T t = math::tanh(sqrt_2_over_pi * (s + cubic * s * s * s));
      const T inner = sqrt_2_over_pi * (1 + 3 * cubic * s * s);
      return (1 + t) / 2 + s / 2 * (1 - t * t) * inner;
    }
    case Activation::silu: {
      const T share = sigmoid(s);
      return share * (1 + s * (1 - share));
    }
  }
  return 1;
}

// dout through the function; s as above. A slope that is 0 everywhere lets no infinity and no NaN through.
template <class T>
__device__ __forceinline__ T activation_gradient(Activation kind, T dout, T s, T alpha) {
  if (kind == Activation::step) return 0;
  if (kind == Activation::relu) return s <= 0 ? T(0) : dout;
  return dout * activation_slope(kind, s, alpha);
}

}  // namespace weft::cuda
