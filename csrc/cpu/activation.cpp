// Activation functions and their gradients over contiguous arrays; see ops/activation.h. float32 by the
// functions of simd/math.h, those with an exponential vector by vector, the others in loops that the compiler
// vectorizes; float64 by the naive kernels.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "cpu/simd/math.h"
#include "cpu/simd/normal_cdf.h"
#include "cpu/simd/stream.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t grain = 16384;
constexpr float sqrt_2_over_pi = 0.79788456f;

// sqrt(2/pi) (x + 0.044715 x^3), gelu_tanh's inner function.
template <class T>
[[gnu::always_inline]] inline T gelu_inner(T x) {
  return sqrt_2_over_pi * (x + 0.044715f * x * x * x);
}

// out[i] = f(i) for i < n. `cost` is what one element costs in units of a copied one.
template <class F>
void fill(float* out, std::int64_t n, std::int64_t cost, F f) {
  parallel_ranges(n, grain, n * cost, [=](std::int64_t begin, std::int64_t end) {
#pragma GCC ivdep  // out may be x, never shifted
    for (std::int64_t i = begin; i < end; ++i) out[i] = f(i);
  });
}

[[gnu::always_inline]] inline FloatVec vector_at(const float* from, std::int64_t count) {
  return count == lanes_of<float> ? *reinterpret_cast<const FloatVec*>(from) : load_some(from, count);
}

// As fill, for an f(first, count) that gives a vector, of which `count` numbers are wanted; `bytes` is what
// is moved.
template <class F>
void fill_vectors(float* out, std::int64_t n, std::int64_t cost, std::int64_t bytes, F f) {
  constexpr std::int64_t L = lanes_of<float>;
  const bool streams = passes_cache(bytes) && is_line(out);
  parallel_ranges(n, grain, n * cost, [=](std::int64_t begin, std::int64_t end) {
    std::int64_t i = begin;
    for (; i + L <= end; i += L) {
      const FloatVec y = f(i, L);
      if (streams)
        stream_vector(out + i, y);
      else
        *reinterpret_cast<FloatVec*>(out + i) = y;
    }
    if (i < end) store_some<float>(out + i, f(i, end - i), end - i);
    if (streams) stream_end();
  });
}

// out[i] = f(x[i]).
template <class F>
void map(const ActivationArgs& a, std::int64_t cost, F f) {
  const auto* x = static_cast<const float*>(a.x);
  fill(static_cast<float*>(a.out), a.n, cost, [=](std::int64_t i) { return f(x[i]); });
}

template <class F>
void map_vectors(const ActivationArgs& a, std::int64_t cost, F f) {
  const auto* x = static_cast<const float*>(a.x);
  const std::int64_t bytes = a.out == a.x ? 0 : 8 * a.n;
  fill_vectors(static_cast<float*>(a.out), a.n, cost, bytes,
               [=](std::int64_t i, std::int64_t count) { return f(vector_at(x + i, count)); });
}

// dx[i] = dout[i] f(saved[i]).
template <class F>
void map_backward(const ActivationBackwardArgs& a, std::int64_t cost, F f) {
  const auto* dout = static_cast<const float*>(a.dout);
  const auto* saved = static_cast<const float*>(a.saved);
  fill(static_cast<float*>(a.dx), a.n, cost, [=](std::int64_t i) { return dout[i] * f(saved[i]); });
}

// f(dout, saved) is the gradient.
template <class F>
void map_gradient_vectors(const ActivationBackwardArgs& a, std::int64_t cost, F f) {
  const auto* dout = static_cast<const float*>(a.dout);
  const auto* saved = static_cast<const float*>(a.saved);
  const std::int64_t bytes = a.dx == a.dout || a.dx == a.saved ? 0 : 12 * a.n;
  fill_vectors(static_cast<float*>(a.dx), a.n, cost, bytes, [=](std::int64_t i, std::int64_t count) {
    return f(vector_at(dout + i, count), vector_at(saved + i, count));
  });
}

template <class F>
void map_backward_vectors(const ActivationBackwardArgs& a, std::int64_t cost, F f) {
  map_gradient_vectors(a, cost, [=](FloatVec dout, FloatVec saved) { return dout * f(saved); });
}

// Comparisons are written so that NaN takes the branch that keeps it.
void forward(const ActivationArgs& a) {
  const float alpha = static_cast<float>(a.alpha), inverse = static_cast<float>(1 / a.alpha);
  switch (a.kind) {
    case Activation::none: return map(a, 1, [](float x) { return x; });
    case Activation::step: return map(a, 1, [](float x) { return x > 0 ? 1.0f : 0.0f; });
    case Activation::sigmoid: return map_vectors(a, 5, [](FloatVec x) { return sigmoid(x); });
    case Activation::tanh: return map_vectors(a, 5, [](FloatVec x) { return tanh(x); });
    case Activation::relu: return map_vectors(a, 1, [](FloatVec x) { return x <= 0.0f ? FloatVec{} : x; });
    case Activation::leaky_relu:
      return map_vectors(a, 1, [=](FloatVec x) { return x > 0.0f ? x : alpha * x; });
    case Activation::elu:
      return map(a, 8, [=](float x) {
        const float y = alpha * expm1(x);
        return x > 0 ? x : y;
      });
    case Activation::softplus:
      return map(a, 12, [=](float x) {
        const float y = log1p(exp(alpha * x)) * inverse;
        return alpha * x > 20 ? x : y;
      });
    case Activation::gelu: return map_vectors(a, 8, [](FloatVec x) { return x * normal_cdf(x); });
    case Activation::gelu_tanh:
      return map_vectors(a, 6, [](FloatVec x) { return x * sigmoid(2.0f * gelu_inner(x)); });
    case Activation::silu: return map_vectors(a, 5, [](FloatVec x) { return x * sigmoid(x); });
  }
}

void backward(const ActivationBackwardArgs& a) {
  const float alpha = static_cast<float>(a.alpha);
  switch (a.kind) {
    case Activation::none: return map_backward(a, 1, [](float) { return 1.0f; });
    case Activation::step: return map_gradient_vectors(a, 1, [](FloatVec, FloatVec) { return FloatVec{}; });
    case Activation::sigmoid: return map_backward_vectors(a, 1, [](FloatVec y) { return y * (1.0f - y); });
    case Activation::tanh: return map_backward_vectors(a, 1, [](FloatVec y) { return 1.0f - y * y; });
    case Activation::relu:
      return map_gradient_vectors(a, 1,
                                  [](FloatVec dout, FloatVec y) { return y <= 0.0f ? FloatVec{} : dout; });
    case Activation::leaky_relu:
      return map_backward_vectors(a, 1, [=](FloatVec x) {
        const FloatVec one = FloatVec{} + 1.0f;
        return x > 0.0f ? one : alpha * one;
      });
    case Activation::elu:
      return map_backward(a, 8, [=](float x) {
        const float slope = alpha * exp(x);
        return x > 0 ? 1.0f : slope;
      });
    case Activation::softplus:
      return map_backward_vectors(a, 5, [=](FloatVec x) {
        const FloatVec slope = sigmoid(alpha * x);
        return alpha * x > 20.0f ? FloatVec{} + 1.0f : slope;
      });
    case Activation::gelu:
      return map_backward_vectors(a, 8, [](FloatVec x) {
        const FloatVec half_density = half_bell(x), share = normal_cdf(x, half_density);
        return share + x * sqrt_2_over_pi * half_density;
      });
    case Activation::gelu_tanh:
      return map_backward_vectors(a, 8, [](FloatVec x) {
        const FloatVec t = tanh(gelu_inner(x)), slope = sqrt_2_over_pi * (1.0f + 3 * 0.044715f * x * x);
        return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope;
      });
    case Activation::silu:
      return map_backward_vectors(a, 6, [](FloatVec x) {
        const FloatVec s = sigmoid(x);
        return s * (1.0f + x * (1.0f - s));
      });
  }
}

// bfloat16: f(block, first, count) computes a block of floats, widened into the first-level cache, which is
// rounded on its way out.
template <class F>
void through_float(void* out, std::int64_t n, F f) {
  parallel_ranges(n, grain, 4 * n, [=](std::int64_t begin, std::int64_t end) {
    constexpr std::int64_t size = 1024;
    alignas(64) float block[size];
    for (std::int64_t first = begin; first < end; first += size) {
      const std::int64_t count = min_of(size, end - first);
      f(block, first, count);
      auto* y = static_cast<BFloat16*>(out) + first;
      for (std::int64_t i = 0; i < count; ++i) y[i] = BFloat16(block[i]);
    }
  });
}

[[gnu::always_inline]] inline void widen(float* to, const void* from, std::int64_t first, std::int64_t n) {
  const auto* x = static_cast<const BFloat16*>(from) + first;
  for (std::int64_t i = 0; i < n; ++i) to[i] = x[i];
}

void forward_bfloat16(const ActivationArgs& a) {
  through_float(a.out, a.n, [=](float* block, std::int64_t first, std::int64_t n) {
    widen(block, a.x, first, n);
    forward({a.kind, DType::float32, n, block, block, a.alpha});
  });
}

void backward_bfloat16(const ActivationBackwardArgs& a) {
  through_float(a.dx, a.n, [=](float* block, std::int64_t first, std::int64_t n) {
    alignas(64) float saved[1024];
    widen(block, a.dout, first, n);
    widen(saved, a.saved, first, n);
    backward({a.kind, DType::float32, n, block, block, saved, a.alpha});
  });
}

}  // namespace

void activation_forward(Stream& stream, const ActivationArgs& a) {
  if (a.dtype == DType::bfloat16) return forward_bfloat16(a);
  if (a.dtype != DType::float32) return reference::activation_forward(stream, a);
  forward(a);
}

void activation_backward(Stream& stream, const ActivationBackwardArgs& a) {
  if (a.dtype == DType::bfloat16) return backward_bfloat16(a);
  if (a.dtype != DType::float32) return reference::activation_backward(stream, a);
  backward(a);
}

}  // namespace weft::cpu::WEFT_ISA
