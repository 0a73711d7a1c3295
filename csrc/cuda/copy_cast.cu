// out[i] = (dtype of out) x[i]; the rules of casts are in ops/elementwise.h, the loop and the time in
// device/nest.h.
//
// A kernel for each pair of dtypes; bool is read as uint8.
#include "cuda/copy_cast.h"
#include "cuda/device/arithmetic.h"
#include "cuda/device/nest.h"

namespace weft::cuda {

namespace {

template <class To, class From>
struct Cast {
  using Out = To;
  using A = From;
  using B = NoOperand;
  using C = NoOperand;
  static constexpr int inputs = 1;
  static constexpr int width = pack_width<To> < pack_width<From> ? pack_width<To> : pack_width<From>,
                       packs = 2;

  template <int E>
  __device__ __forceinline__ void operator()(To (&y)[E], const From (&x)[E], const NoOperand (&)[E],
                                             const NoOperand (&)[E]) const {
#pragma unroll
    for (int i = 0; i < E; ++i) y[i] = convert<To>(x[i]);
  }
};

}  // namespace

void copy_cast(Stream& stream, const CopyArgs& a) {
  const Loop loop = make_loop(a.ndim, a.shape, {&a.out, &a.x});
  dispatch_all(a.to, [&](auto to) {
    dispatch_all(a.from, [&](auto from) {
      using To = typename decltype(to)::type;
      using Given = typename decltype(from)::type;
      using From = std::conditional_t<std::is_same_v<Given, bool>, std::uint8_t, Given>;
      if constexpr (!std::is_same_v<To, Given>) map(stream, Cast<To, From>{}, loop);
    });
  });
}

}  // namespace weft::cuda
