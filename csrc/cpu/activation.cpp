// Activation functions and their gradients over contiguous arrays; see ops/activation.h. float32 by the
// functions of simd/math.h in vectorized loops; float64 by the naive kernels.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "cpu/simd/math.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t grain = 16384;
constexpr float sqrt_2_over_pi = 0.79788456f, inverse_sqrt_2pi = 0.39894228f;

// sqrt(2/pi) (x + 0.044715 x^3), gelu_tanh's inner function.
[[gnu::always_inline]] inline float gelu_inner(float x) {
  return sqrt_2_over_pi * (x + 0.044715f * x * x * x);
}

// out[i] = f(x[i]). `cost` is what one element costs in units of a copied one.
template <class F>
void map(const ActivationArgs& a, std::int64_t cost, F f) {
  auto* out = static_cast<float*>(a.out);
  const auto* x = static_cast<const float*>(a.x);
  parallel_ranges(a.n, grain, a.n * cost, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) out[i] = f(x[i]);
  });
}

// dx[i] = dout[i] f(saved[i]).
template <class F>
void map_backward(const ActivationBackwardArgs& a, std::int64_t cost, F f) {
  auto* dx = static_cast<float*>(a.dx);
  const auto* dout = static_cast<const float*>(a.dout);
  const auto* saved = static_cast<const float*>(a.saved);
  parallel_ranges(a.n, grain, a.n * cost, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) dx[i] = dout[i] * f(saved[i]);
  });
}

// Comparisons are written so that NaN takes the branch that keeps it.
void forward(const ActivationArgs& a) {
  const float alpha = static_cast<float>(a.alpha), inverse = static_cast<float>(1 / a.alpha);
  switch (a.kind) {
    case Activation::none: return map(a, 1, [](float x) { return x; });
    case Activation::step: return map(a, 1, [](float x) { return x > 0 ? 1.0f : 0.0f; });
    case Activation::sigmoid: return map(a, 8, [](float x) { return sigmoid(x); });
    case Activation::tanh: return map(a, 8, [](float x) { return tanh(x); });
    case Activation::relu: return map(a, 1, [](float x) { return x <= 0 ? 0.0f : x; });
    case Activation::leaky_relu: return map(a, 1, [=](float x) { return x > 0 ? x : alpha * x; });
    case Activation::elu: return map(a, 8, [=](float x) { return x > 0 ? x : alpha * expm1(x); });
    case Activation::softplus:
      return map(a, 12, [=](float x) { return alpha * x > 20 ? x : log1p(exp(alpha * x)) * inverse; });
    case Activation::gelu: return map(a, 12, [](float x) { return x * normal_cdf(x); });
    case Activation::gelu_tanh: return map(a, 12, [](float x) { return x * sigmoid(2 * gelu_inner(x)); });
    case Activation::silu: return map(a, 8, [](float x) { return x * sigmoid(x); });
  }
}

void backward(const ActivationBackwardArgs& a) {
  const float alpha = static_cast<float>(a.alpha);
  switch (a.kind) {
    case Activation::none: return map_backward(a, 1, [](float) { return 1.0f; });
    case Activation::step: return map_backward(a, 1, [](float) { return 0.0f; });
    case Activation::sigmoid: return map_backward(a, 1, [](float y) { return y * (1 - y); });
    case Activation::tanh: return map_backward(a, 1, [](float y) { return 1 - y * y; });
    case Activation::relu:
      return map_backward(a, 1, [](float y) { return y > 0 ? 1.0f : y <= 0 ? 0.0f : y; });
    case Activation::leaky_relu: return map_backward(a, 1, [=](float x) { return x > 0 ? 1.0f : alpha; });
    case Activation::elu: return map_backward(a, 8, [=](float x) { return x > 0 ? 1.0f : alpha * exp(x); });
    case Activation::softplus:
      return map_backward(a, 8, [=](float x) { return alpha * x > 20 ? 1.0f : sigmoid(alpha * x); });
    case Activation::gelu:
      return map_backward(a, 16,
                          [](float x) { return normal_cdf(x) + x * inverse_sqrt_2pi * exp(-0.5f * x * x); });
    case Activation::gelu_tanh:
      return map_backward(a, 16, [](float x) {
        const float t = tanh(gelu_inner(x)), slope = sqrt_2_over_pi * (1 + 3 * 0.044715f * x * x);
        return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * slope;
      });
    case Activation::silu:
      return map_backward(a, 8, [](float x) {
        const float s = sigmoid(x);
        return s * (1 + x * (1 - s));
      });
  }
}

}  // namespace

void activation_forward(Stream& stream, const ActivationArgs& a) {
  if (a.dtype != DType::float32) return reference::activation_forward(stream, a);
  forward(a);
}

void activation_backward(Stream& stream, const ActivationBackwardArgs& a) {
  if (a.dtype != DType::float32) return reference::activation_backward(stream, a);
  backward(a);
}

}  // namespace weft::cpu::WEFT_ISA
