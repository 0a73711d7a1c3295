// out[i] = f(x[i]); see ops/formulas.h for the functions and device/nest.h for the loop, the layouts and
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
    for (int i = 0; i < E; ++i) y[i] = static_cast<Out>(elementwise::apply<chosen, Wide<A>>(x[i], low, high));
  }
};

// The functions of one kernel: those of a cost, and either the predicates or the others.
template <class T, class Out, int packs, Cost its_cost, bool predicates>
struct Listed : Function<T, Out, packs> {
  template <int E>
  __device__ __forceinline__ void operator()(Out (&y)[E], const T (&x)[E], const NoOperand (&)[E],
                                             const NoOperand (&)[E]) const {
#define WEFT_CASE(name, kind, cost, ...)                                                     \
  case UnaryOp::name:                                                                        \
    if constexpr (Cost::cost == its_cost && (Kind::kind == Kind::predicate) == predicates && \
                  (Kind::kind != Kind::floating || is_real<Wide<T>>))                        \
      this->template each<UnaryOp::name>(y, x);                                              \
    break;
    switch (this->op) { WEFT_UNARY(WEFT_CASE) }
#undef WEFT_CASE
  }
};
template <class T>
using Simple = Listed<T, T, 2, Cost::cheap, false>;
template <class T>
using Transcendental = Listed<T, T, 1, Cost::costly, false>;
template <class T>
using Predicate = Listed<T, std::uint8_t, 2, Cost::cheap, true>;

template <template <class> class F, class T>
void run(const Stream& stream, const UnaryArgs& a) {
  F<T> f;
  f.op = a.op;
  f.low = static_cast<Wide<T>>(a.low);
  f.high = static_cast<Wide<T>>(a.high);
  map(stream, f, make_loop(a.ndim, a.shape, {&a.out, &a.x}));
}

}  // namespace

void unary(Stream& stream, const UnaryArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using Given = typename decltype(type)::type;
    using T = std::conditional_t<std::is_same_v<Given, bool>, std::uint8_t, Given>;
    if (kind(a.op) == Kind::predicate) return run<Predicate, T>(stream, a);
    if constexpr (is_real<Wide<T>>)
      if (cost(a.op) == Cost::costly) return run<Transcendental, T>(stream, a);
    run<Simple, T>(stream, a);
  });
}

}  // namespace weft::cuda
