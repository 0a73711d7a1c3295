// out[i] = f(a[i], b[i]) and where; see ops/formulas.h for the functions and device/nest.h for the loop,
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
    for (int i = 0; i < E; ++i) y[i] = static_cast<Out>(elementwise::apply<chosen, Wide<A>>(a[i], b[i]));
  }
};

// A division of doubles is a function call of 40 registers, which spills beside the operands of two packs.
template <class T>
constexpr Cost cost_for(BinaryOp op, Cost cost) {
  return op == BinaryOp::div && std::is_same_v<T, double> ? Cost::costly : cost;
}

// The functions of one kernel: those of a cost, and either the predicates or the others.
template <class T, class Out, int packs, Cost its_cost, bool predicates>
struct Listed : Function<T, Out, packs> {
  template <int E>
  __device__ __forceinline__ void operator()(Out (&y)[E], const T (&a)[E], const T (&b)[E],
                                             const NoOperand (&)[E]) const {
#define WEFT_CASE(name, kind, cost, ...)                                 \
  case BinaryOp::name:                                                   \
    if constexpr (cost_for<T>(BinaryOp::name, Cost::cost) == its_cost && \
                  (Kind::kind == Kind::predicate) == predicates &&       \
                  (Kind::kind != Kind::floating || is_real<Wide<T>>))    \
      this->template each<BinaryOp::name>(y, a, b);                      \
    break;
    switch (this->op) { WEFT_BINARY(WEFT_CASE) }
#undef WEFT_CASE
  }
};
template <class T>
using Simple = Listed<T, T, 2, Cost::cheap, false>;
template <class T>
using Steps = Listed<T, T, 1, Cost::costly, false>;
template <class T>
using Predicate = Listed<T, std::uint8_t, 2, Cost::cheap, true>;

template <template <class> class F, class T>
void run(const Stream& stream, const BinaryArgs& a) {
  F<T> f;
  f.op = a.op;
  map(stream, f, make_loop(a.ndim, a.shape, {&a.out, &a.a, &a.b}));
}

}  // namespace

void binary(Stream& stream, const BinaryArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using Given = typename decltype(type)::type;
    if constexpr (std::is_same_v<Given, bool>) {
      run<Predicate, std::uint8_t>(stream, a);
    } else {
      if (kind(a.op) == Kind::predicate) return run<Predicate, Given>(stream, a);
      if (cost_for<Given>(a.op, cost(a.op)) == Cost::costly) return run<Steps, Given>(stream, a);
      run<Simple, Given>(stream, a);
    }
  });
}

}  // namespace weft::cuda
