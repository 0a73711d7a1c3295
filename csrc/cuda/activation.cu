// Activation functions and their gradients over contiguous arrays; formulas in ops/activation.h, their
// arithmetic in device/activation.h, the loop in device/nest.h.
//
// The function is chosen once for all elements of a thread, and those with an exponential have kernels of
// their own, so that ReLU does with few registers.
//
// Bytes: forward reads x and writes out, backward reads two and writes one. gelu's erfc is about 40
// instructions: of the 53 that fit into the time of an element's 8 bytes on an H200.
#include "cuda/device/activation.h"
#include "cuda/device/nest.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr bool is_simple(Activation kind) {
  return kind == Activation::none || kind == Activation::step || kind == Activation::relu ||
         kind == Activation::leaky_relu;
}
constexpr bool has_simple_slope(Activation kind) {
  return is_simple(kind) || kind == Activation::sigmoid || kind == Activation::tanh;
}

#define WEFT_CASE(name) \
  case Activation::name: return this->template each<Activation::name>

template <class T, int packs_>
struct ForwardOf {
  using Out = T;
  using A = T;
  using B = NoOperand;
  using C = NoOperand;
  static constexpr int inputs = 1, width = pack_width<T>, packs = packs_;

  Activation kind;
  Wide<T> alpha;

  template <Activation chosen, int E>
  __device__ __forceinline__ void each(T (&y)[E], const T (&x)[E]) const {
#pragma unroll
    for (int i = 0; i < E; ++i) y[i] = static_cast<T>(activate<Wide<T>>(chosen, x[i], alpha));
  }
};

template <class T>
struct SimpleForward : ForwardOf<T, 2> {
  template <int E>
  __device__ __forceinline__ void operator()(T (&y)[E], const T (&x)[E], const NoOperand (&)[E],
                                             const NoOperand (&)[E]) const {
    switch (this->kind) {
      WEFT_CASE(none)(y, x);
      WEFT_CASE(step)(y, x);
      WEFT_CASE(relu)(y, x);
      default: return this->template each<Activation::leaky_relu>(y, x);
    }
  }
};

template <class T>
struct Forward : ForwardOf<T, 1> {
  template <int E>
  __device__ __forceinline__ void operator()(T (&y)[E], const T (&x)[E], const NoOperand (&)[E],
                                             const NoOperand (&)[E]) const {
    switch (this->kind) {
      WEFT_CASE(sigmoid)(y, x);
      WEFT_CASE(tanh)(y, x);
      WEFT_CASE(elu)(y, x);
      WEFT_CASE(softplus)(y, x);
      WEFT_CASE(gelu)(y, x);
      WEFT_CASE(gelu_tanh)(y, x);
      default: return this->template each<Activation::silu>(y, x);
    }
  }
};

template <class T, int packs_>
struct BackwardOf {
  using Out = T;
  using A = T;
  using B = T;
  using C = NoOperand;
  static constexpr int inputs = 2, width = pack_width<T>, packs = packs_;

  Activation kind;
  Wide<T> alpha;

  template <Activation chosen, int E>
  __device__ __forceinline__ void each(T (&dx)[E], const T (&dout)[E], const T (&saved)[E]) const {
#pragma unroll
    for (int i = 0; i < E; ++i)
      dx[i] = static_cast<T>(activation_gradient<Wide<T>>(chosen, dout[i], saved[i], alpha));
  }
};

template <class T>
struct SimpleBackward : BackwardOf<T, 2> {
  template <int E>
  __device__ __forceinline__ void operator()(T (&dx)[E], const T (&dout)[E], const T (&saved)[E],
                                             const NoOperand (&)[E]) const {
    switch (this->kind) {
      WEFT_CASE(none)(dx, dout, saved);
      WEFT_CASE(step)(dx, dout, saved);
      WEFT_CASE(sigmoid)(dx, dout, saved);
      WEFT_CASE(tanh)(dx, dout, saved);
      WEFT_CASE(relu)(dx, dout, saved);
      default: return this->template each<Activation::leaky_relu>(dx, dout, saved);
    }
  }
};

template <class T>
struct Backward : BackwardOf<T, 1> {
  template <int E>
  __device__ __forceinline__ void operator()(T (&dx)[E], const T (&dout)[E], const T (&saved)[E],
                                             const NoOperand (&)[E]) const {
    switch (this->kind) {
      WEFT_CASE(elu)(dx, dout, saved);
      WEFT_CASE(softplus)(dx, dout, saved);
      WEFT_CASE(gelu)(dx, dout, saved);
      WEFT_CASE(gelu_tanh)(dx, dout, saved);
      default: return this->template each<Activation::silu>(dx, dout, saved);
    }
  }
};

#undef WEFT_CASE

template <class F, class Args>
F make(const Args& a) {
  F f;
  f.kind = a.kind;
  f.alpha = static_cast<decltype(f.alpha)>(a.alpha);
  return f;
}

}  // namespace

void activation_forward(Stream& stream, const ActivationArgs& a) {
  const Loop loop = flat_loop(a.n, {a.out, a.x});
  dispatch_floating_or_bfloat16(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if (is_simple(a.kind)) return map(stream, make<SimpleForward<T>>(a), loop);
    map(stream, make<Forward<T>>(a), loop);
  });
}

void activation_backward(Stream& stream, const ActivationBackwardArgs& a) {
  const Loop loop = flat_loop(a.n, {a.dx, a.dout, a.saved});
  dispatch_floating_or_bfloat16(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if (has_simple_slope(a.kind)) return map(stream, make<SimpleBackward<T>>(a), loop);
    map(stream, make<Backward<T>>(a), loop);
  });
}

}  // namespace weft::cuda
