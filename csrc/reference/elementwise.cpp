// Elementwise operations; the formulas are in ops/formulas.h.
#include <cmath>
#include <limits>
#include <type_traits>

#include "ops/formulas.h"
#include "reference/kernels.h"

namespace weft::reference {

namespace {

// Calls f(offset of each operand...) for every index of the nest, in order.
template <int Count, class F>
void for_each(int ndim, const std::int64_t* shape, const Strided* const (&operands)[Count], F&& f) {
  std::int64_t index[max_rank] = {};
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

namespace math {
#define WEFT_MATH(name)  \
  template <class T>     \
  T name(T x) {          \
    return std::name(x); \
  }
#define WEFT_MATH_2(name)   \
  template <class T>        \
  T name(T x, T y) {        \
    return std::name(x, y); \
  }
WEFT_LIBRARY(WEFT_MATH)
WEFT_LIBRARY_2(WEFT_MATH_2)
#undef WEFT_MATH
#undef WEFT_MATH_2
}  // namespace math

WEFT_DEFINE_APPLY(inline)

// One element's result as an R. In what it is computed: T, where a bool is a byte of 0 or 1.
#define WEFT_CASE_1(name, ...) \
  case UnaryOp::name: return static_cast<R>(apply<UnaryOp::name, T>(x, low, high));
#define WEFT_CASE_2(name, ...) \
  case BinaryOp::name: return static_cast<R>(apply<BinaryOp::name, T>(a, b));
template <class R, class T>
R value(UnaryOp op, T x, T low, T high) {
  switch (op) { WEFT_UNARY(WEFT_CASE_1) }
  __builtin_trap();
}
template <class R, class T>
R value(BinaryOp op, T a, T b) {
  switch (op) { WEFT_BINARY(WEFT_CASE_2) }
  __builtin_trap();
}
#undef WEFT_CASE_1
#undef WEFT_CASE_2
template <class T>
using Number = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, Wide<T>>;

// f(the result's type), which is bool for a predicate and else the operands'.
template <class Op, class F>
void with_types(Op op, DType dtype, F&& f) {
  dispatch_all(dtype, [&](auto type) {
    if (kind(op) == Kind::predicate)
      f(type, Type<bool>{});
    else
      f(type, type);
  });
}

}  // namespace

void unary(Stream&, const UnaryArgs& a) {
  with_types(a.op, a.dtype, [&](auto type, auto result) {
    using T = typename decltype(type)::type;
    using R = typename decltype(result)::type;
    const auto* x = static_cast<const T*>(a.x.data);
    auto* out = static_cast<R*>(a.out.data);
    const auto low = static_cast<Number<T>>(a.low), high = static_cast<Number<T>>(a.high);
    for_each<2>(a.ndim, a.shape, {&a.out, &a.x},
                [&](const auto& at) { out[at[0]] = value<R, Number<T>>(a.op, x[at[1]], low, high); });
  });
}

void binary(Stream&, const BinaryArgs& args) {
  with_types(args.op, args.dtype, [&](auto type, auto result) {
    using T = typename decltype(type)::type;
    using R = typename decltype(result)::type;
    const auto* a = static_cast<const T*>(args.a.data);
    const auto* b = static_cast<const T*>(args.b.data);
    auto* out = static_cast<R*>(args.out.data);
    for_each<3>(args.ndim, args.shape, {&args.out, &args.a, &args.b},
                [&](const auto& at) { out[at[0]] = value<R, Number<T>>(args.op, a[at[1]], b[at[2]]); });
  });
}

void where(Stream&, const WhereArgs& args) {
  dispatch_all(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* out = static_cast<T*>(args.out.data);
    const auto* condition = static_cast<const bool*>(args.condition.data);
    const auto* a = static_cast<const T*>(args.a.data);
    const auto* b = static_cast<const T*>(args.b.data);
    for_each<4>(args.ndim, args.shape, {&args.out, &args.condition, &args.a, &args.b},
                [&](const auto& at) { out[at[0]] = condition[at[1]] ? a[at[2]] : b[at[3]]; });
  });
}

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

void arange(Stream&, const ArangeArgs& a) {
  dispatch_number(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* out = static_cast<T*>(a.out);
    // Modulo 2^64: every element fits in 64 bits, but its distance from the first may not.
    const auto first = static_cast<std::uint64_t>(a.integer_start),
               step = static_cast<std::uint64_t>(a.integer_step);
    for (std::int64_t i = 0; i < a.n; ++i)
      out[i] = is_floating(a.dtype)
                   ? static_cast<T>(a.start + static_cast<double>(i) * a.step)
                   : static_cast<T>(static_cast<std::int64_t>(first + static_cast<std::uint64_t>(i) * step));
  });
}

}  // namespace weft::reference
