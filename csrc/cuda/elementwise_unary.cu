// out[i] = f(x[i]); see ops/elementwise.h for the functions and device/nest.h for the loop, the layouts and
// the time.
//
// The function is chosen at run time, once for all elements of a thread: a uniform branch, which a kernel
// that waits for memory doesn't notice. Functions are grouped into three kernels for each type, by the
// result's type and by the registers they need.
#include "cuda/device/arithmetic.h"
#include "cuda/device/nest.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

template <class T_, class Out_, int packs_>
struct Function {
  using Out = Out_;
  using A = T_;
  using B = NoOperand;
  using C = NoOperand;
  static constexpr int inputs = 1, width = pack_width<T_>, packs = packs_;

  UnaryOp op;
  Wide<T_> low, high;  // clip

  template <UnaryOp chosen, int E>
  __device__ __forceinline__ void each(Out (&y)[E], const A (&x)[E]) const {
#pragma unroll
    for (int i = 0; i < E; ++i) y[i] = static_cast<Out>(apply<chosen, Wide<A>>(x[i], low, high));
  }
};

#define WEFT_CASE(name) \
  case UnaryOp::name: return this->template each<UnaryOp::name>(y, x);

template <class T>
struct Simple : Function<T, T, 2> {
  template <int E>
  __device__ __forceinline__ void operator()(T (&y)[E], const T (&x)[E], const NoOperand (&)[E],
                                             const NoOperand (&)[E]) const {
    switch (this->op) {
      WEFT_CASE(neg)
      WEFT_CASE(abs)
      WEFT_CASE(sign)
      WEFT_CASE(square)
      WEFT_CASE(clip)
      default: break;
    }
    if constexpr (is_real<Wide<T>>) switch (this->op) {
        WEFT_CASE(sqrt)
        WEFT_CASE(rsqrt)
        WEFT_CASE(reciprocal)
        WEFT_CASE(floor)
        WEFT_CASE(ceil)
        WEFT_CASE(round)
        default: break;
      }
    return this->template each<UnaryOp::round>(y, x);  // and floor, ceil: a whole number itself
  }
};

template <class T>
struct Transcendental : Function<T, T, 1> {
  template <int E>
  __device__ __forceinline__ void operator()(T (&y)[E], const T (&x)[E], const NoOperand (&)[E],
                                             const NoOperand (&)[E]) const {
    switch (this->op) {
      WEFT_CASE(exp)
      WEFT_CASE(expm1)
      WEFT_CASE(log)
      WEFT_CASE(log1p)
      WEFT_CASE(sin)
      WEFT_CASE(cos)
      default: return this->template each<UnaryOp::erf>(y, x);
    }
  }
};

template <class T>
struct Predicate : Function<T, std::uint8_t, 2> {
  template <int E>
  __device__ __forceinline__ void operator()(std::uint8_t (&y)[E], const T (&x)[E], const NoOperand (&)[E],
                                             const NoOperand (&)[E]) const {
    switch (this->op) {
      WEFT_CASE(isnan)
      WEFT_CASE(isfinite)
      default: return this->template each<UnaryOp::logical_not>(y, x);
    }
  }
};

#undef WEFT_CASE

template <template <class> class F, class T>
void run(const Stream& stream, const UnaryArgs& a) {
  F<T> f;
  f.op = a.op;
  f.low = static_cast<Wide<T>>(a.low);
  f.high = static_cast<Wide<T>>(a.high);
  map(stream, f, make_loop(a.ndim, a.shape, {&a.out, &a.x}));
}

bool is_transcendental(UnaryOp op) { return op >= UnaryOp::exp && op <= UnaryOp::erf; }

}  // namespace

void unary(Stream& stream, const UnaryArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using Given = typename decltype(type)::type;
    using T = std::conditional_t<std::is_same_v<Given, bool>, std::uint8_t, Given>;
    if (a.op >= UnaryOp::isnan) return run<Predicate, T>(stream, a);
    if constexpr (is_real<Wide<T>>)
      if (is_transcendental(a.op)) return run<Transcendental, T>(stream, a);
    run<Simple, T>(stream, a);
  });
}

}  // namespace weft::cuda
