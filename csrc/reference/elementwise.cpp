// Elementwise operations; the formulas are in ops/elementwise.h.
#include "reference/kernels.h"

namespace weft::reference {

namespace {

// Calls f(offset of each operand...) for every index of the nest, in order.
template <int Count, class F>
void for_each(int ndim, const std::int64_t* shape, const Strided* const (&operands)[Count], F&& f) {
  std::int64_t index[view_max_rank] = {};
  std::int64_t offsets[Count] = {};
  for (;;) {
    f(offsets);
    int axis = ndim - 1;
    for (; axis >= 0; --axis) {
      for (int k = 0; k < Count; ++k) offsets[k] += operands[k]->strides[axis];
      if (++index[axis] < shape[axis]) break;
      for (int k = 0; k < Count; ++k) offsets[k] -= shape[axis] * operands[k]->strides[axis];
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

}  // namespace

void copy(Stream&, const CopyArgs& a) {
  dispatch_all(a.to, [&](auto to) {
    dispatch_all(a.from, [&](auto from) {
      using To = typename decltype(to)::type;
      using From = typename decltype(from)::type;
      auto* out = static_cast<To*>(a.out.data);
      const auto* x = static_cast<const From*>(a.x.data);
      for_each<2>(a.ndim, a.shape, {&a.out, &a.x},
                  [&](const auto& at) { out[at[0]] = static_cast<To>(x[at[1]]); });
    });
  });
}

void fill(Stream&, const FillArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* out = static_cast<T*>(a.out.data);
    const T value = is_floating(a.dtype) ? static_cast<T>(a.value) : static_cast<T>(a.integer);
    for_each<1>(a.ndim, a.shape, {&a.out}, [&](const auto& at) { out[at[0]] = value; });
  });
}

}  // namespace weft::reference
