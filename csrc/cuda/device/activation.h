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

template <class T>
__device__ __forceinline__ T activate(Activation kind, T x, T alpha) {
  constexpr T inverse_sqrt_2 = T(0.70710678118654752440), sqrt_2_over_pi = T(0.79788456080286535588);
  switch (kind) {
    case Activation::none: return x;
    case Activation::step: return x > 0 ? T(1) : T(0);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::tanh: return math::tanh(x);
    case Activation::relu: return x <= 0 ? T(0) : x;
    case Activation::leaky_relu: return x > 0 ? x : alpha * x;
    case Activation::elu: return x > 0 ? x : alpha * math::expm1(x);
    case Activation::softplus: return alpha * x > 20 ? x : math::log1p(math::exp(alpha * x)) / alpha;
    case Activation::gelu: return x / 2 * math::erfc(-x * inverse_sqrt_2);  // 1 + erf would cancel
    case Activation::gelu_tanh:
      return x / 2 * (1 + math::tanh(sqrt_2_over_pi * (x + T(0.044715) * x * x * x)));
    case Activation::silu: return x * sigmoid(x);
  }
  return x;
}

}  // namespace weft::cuda
