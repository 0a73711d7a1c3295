// out[i] = f(a[i], b[i]) and where; see ops/elementwise.h for the functions and device/nest.h for the loop,
// the layouts and the time.
//
// As in elementwise_unary.cu the function is chosen once for all elements of a thread, and functions are
// grouped into kernels by the result's type and by the registers they need.
#include "cuda/device/arithmetic.h"
#include "cuda/device/nest.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

template <class T_, class Out_, int packs_>
struct Function {
  using Out = Out_;
  using A = T_;
  using B = T_;
  using C = NoOperand;
  static constexpr int inputs = 2, width = pack_width<T_>, packs = packs_;

  BinaryOp op;

  template <BinaryOp chosen, int E>
  __device__ __forceinline__ void each(Out (&y)[E], const A (&a)[E], const B (&b)[E]) const {
#pragma unroll
    for (int i = 0; i < E; ++i) y[i] = static_cast<Out>(apply<chosen, Wide<A>>(a[i], b[i]));
  }
};

#define WEFT_CASE(name) \
  case BinaryOp::name: return this->template each<BinaryOp::name>(y, a, b);

template <class T>
struct Simple : Function<T, T, 2> {
  template <int E>
  __device__ __forceinline__ void operator()(T (&y)[E], const T (&a)[E], const T (&b)[E],
                                             const NoOperand (&)[E]) const {
    if constexpr (std::is_same_v<Wide<T>, float>)
      if (this->op == BinaryOp::div) return this->template each<BinaryOp::div>(y, a, b);
    switch (this->op) {
      WEFT_CASE(add)
      WEFT_CASE(sub)
      WEFT_CASE(mul)
      WEFT_CASE(maximum)
      default: return this->template each<BinaryOp::minimum>(y, a, b);
    }
  }
};

template <class T>
struct Steps : Function<T, T, 1> {
  template <int E>
  __device__ __forceinline__ void operator()(T (&y)[E], const T (&a)[E], const T (&b)[E],
                                             const NoOperand (&)[E]) const {
    if constexpr (std::is_same_v<T, double>)
      if (this->op == BinaryOp::div) return this->template each<BinaryOp::div>(y, a, b);
    switch (this->op) {
      WEFT_CASE(pow)
      WEFT_CASE(floor_divide)
      default: return this->template each<BinaryOp::remainder>(y, a, b);
    }
  }
};

template <class T>
struct Predicate : Function<T, std::uint8_t, 2> {
  template <int E>
  __device__ __forceinline__ void operator()(std::uint8_t (&y)[E], const T (&a)[E], const T (&b)[E],
                                             const NoOperand (&)[E]) const {
    switch (this->op) {
      WEFT_CASE(eq)
      WEFT_CASE(ne)
      WEFT_CASE(lt)
      WEFT_CASE(le)
      WEFT_CASE(gt)
      WEFT_CASE(ge)
      WEFT_CASE(logical_and)
      WEFT_CASE(logical_or)
      default: return this->template each<BinaryOp::logical_xor>(y, a, b);
    }
  }
};

#undef WEFT_CASE

template <template <class> class F, class T>
void run(const Stream& stream, const BinaryArgs& a) {
  F<T> f;
  f.op = a.op;
  map(stream, f, make_loop(a.ndim, a.shape, {&a.out, &a.a, &a.b}));
}

// A division of doubles is a function call of 40 registers, which spills beside the operands of two packs.
template <class T>
bool has_steps(BinaryOp op) {
  return (op >= BinaryOp::pow && op <= BinaryOp::remainder) ||
         (op == BinaryOp::div && std::is_same_v<T, double>);
}

}  // namespace

void binary(Stream& stream, const BinaryArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using Given = typename decltype(type)::type;
    if constexpr (std::is_same_v<Given, bool>) {
      run<Predicate, std::uint8_t>(stream, a);
    } else {
      if (a.op >= BinaryOp::eq) return run<Predicate, Given>(stream, a);
      if (has_steps<Given>(a.op)) return run<Steps, Given>(stream, a);
      run<Simple, Given>(stream, a);
    }
  });
}

}  // namespace weft::cuda
