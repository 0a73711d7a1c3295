// Elementwise operations; the formulas are in ops/elementwise.h.
#include <cmath>
#include <limits>
#include <type_traits>

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

// Integers wrap around: the arithmetic is done on unsigned numbers, where that is defined.
template <class T>
using Wrapping = std::make_unsigned_t<std::common_type_t<T, int>>;

template <class T>
T floating(UnaryOp op, T x) {
  switch (op) {
    case UnaryOp::sqrt: return std::sqrt(x);
    case UnaryOp::rsqrt: return 1 / std::sqrt(x);
    case UnaryOp::reciprocal: return 1 / x;
    case UnaryOp::exp: return std::exp(x);
    case UnaryOp::expm1: return std::expm1(x);
    case UnaryOp::log: return std::log(x);
    case UnaryOp::log1p: return std::log1p(x);
    case UnaryOp::sin: return std::sin(x);
    case UnaryOp::cos: return std::cos(x);
    case UnaryOp::erf: return std::erf(x);
    case UnaryOp::floor: return std::floor(x);
    case UnaryOp::ceil: return std::ceil(x);
    case UnaryOp::round: return std::nearbyint(x);  // halves to even
    case UnaryOp::neg: return -x;
    case UnaryOp::abs: return std::abs(x);
    case UnaryOp::square: return x * x;
    default: return x;
  }
}

template <class T>
T integral(UnaryOp op, T x) {
  const auto u = static_cast<Wrapping<T>>(x);
  switch (op) {
    case UnaryOp::neg: return static_cast<T>(0 - u);
    case UnaryOp::abs: return x < 0 ? static_cast<T>(0 - u) : x;
    case UnaryOp::square: return static_cast<T>(u * u);
    default: return x;  // floor, ceil, round
  }
}

template <class T>
T number(const UnaryArgs& a, T x) {
  if (a.op == UnaryOp::sign) return x > 0 ? T(1) : x < 0 ? T(-1) : x;
  if (a.op == UnaryOp::clip) return x < T(a.low) ? T(a.low) : x > T(a.high) ? T(a.high) : x;
  if constexpr (std::is_floating_point_v<T>)
    return floating(a.op, x);
  else
    return integral(a.op, x);
}

template <class T>
bool predicate(UnaryOp op, T x) {
  if (op == UnaryOp::logical_not) return x == T(0);
  if constexpr (std::is_floating_point_v<T>) return op == UnaryOp::isnan ? std::isnan(x) : std::isfinite(x);
  return op == UnaryOp::isfinite;
}

template <class T>
T floating(BinaryOp op, T a, T b) {
  switch (op) {
    case BinaryOp::add: return a + b;
    case BinaryOp::sub: return a - b;
    case BinaryOp::mul: return a * b;
    case BinaryOp::div: return a / b;
    case BinaryOp::pow: return std::pow(a, b);
    case BinaryOp::maximum: return a >= b || std::isnan(a) ? a : b;
    case BinaryOp::minimum: return a <= b || std::isnan(a) ? a : b;
    default: break;
  }
  // a = b q + r with q whole, and r of b's sign. fmod is exact, a / b is not.
  const T cut = std::fmod(a, b);
  const bool below = cut != 0 && (cut < 0) != (b < 0);
  if (op == BinaryOp::remainder) return below ? cut + b : cut;
  return b == 0 ? a / b : std::nearbyint((a - cut) / b) - (below ? 1 : 0);
}

template <class T>
T whole_power(T base, T exponent) {
  if (exponent < 0) return base == 1 ? T(1) : base == T(-1) ? (exponent % 2 ? T(-1) : T(1)) : T(0);
  Wrapping<T> result = 1, square = static_cast<Wrapping<T>>(base);
  for (auto left = static_cast<Wrapping<T>>(exponent); left; left >>= 1, square *= square)
    if (left & 1) result *= square;
  return static_cast<T>(result);
}

template <class T>
T integral(BinaryOp op, T a, T b) {
  const auto p = static_cast<Wrapping<T>>(a), q = static_cast<Wrapping<T>>(b);
  switch (op) {
    case BinaryOp::add: return static_cast<T>(p + q);
    case BinaryOp::sub: return static_cast<T>(p - q);
    case BinaryOp::mul: return static_cast<T>(p * q);
    case BinaryOp::pow: return whole_power(a, b);
    case BinaryOp::maximum: return a < b ? b : a;
    case BinaryOp::minimum: return b < a ? b : a;
    default: break;
  }
  // Division; the smallest number by -1 does not fit, and wraps.
  if (b == 0) return 0;
  if (b == T(-1) && std::is_signed_v<T>) return op == BinaryOp::remainder ? T(0) : static_cast<T>(0 - p);
  const bool below = a % b != 0 && (a % b < 0) != (b < 0);
  if (op == BinaryOp::remainder) return static_cast<T>(a % b + (below ? b : 0));
  return static_cast<T>(a / b - (below ? 1 : 0));
}

template <class T>
bool predicate(BinaryOp op, T a, T b) {
  switch (op) {
    case BinaryOp::eq: return a == b;
    case BinaryOp::ne: return a != b;
    case BinaryOp::lt: return a < b;
    case BinaryOp::le: return a <= b;
    case BinaryOp::gt: return a > b;
    case BinaryOp::ge: return a >= b;
    case BinaryOp::logical_and: return a != T(0) && b != T(0);
    case BinaryOp::logical_or: return a != T(0) || b != T(0);
    default: return (a != T(0)) != (b != T(0));  // logical_xor
  }
}

bool gives_bool(UnaryOp op) { return op >= UnaryOp::isnan; }
bool gives_bool(BinaryOp op) { return op >= BinaryOp::eq; }

}  // namespace

void unary(Stream&, const UnaryArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using Computed = Wide<T>;
    const auto* x = static_cast<const T*>(a.x.data);
    for_each<2>(a.ndim, a.shape, {&a.out, &a.x}, [&](const auto& at) {
      if (gives_bool(a.op)) {
        static_cast<bool*>(a.out.data)[at[0]] = predicate<Computed>(a.op, x[at[1]]);
        return;
      }
      if constexpr (!std::is_same_v<T, bool>)
        static_cast<T*>(a.out.data)[at[0]] = static_cast<T>(number<Computed>(a, x[at[1]]));
    });
  });
}

void binary(Stream&, const BinaryArgs& args) {
  dispatch_all(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using Computed = Wide<T>;
    const auto* a = static_cast<const T*>(args.a.data);
    const auto* b = static_cast<const T*>(args.b.data);
    for_each<3>(args.ndim, args.shape, {&args.out, &args.a, &args.b}, [&](const auto& at) {
      if (gives_bool(args.op)) {
        static_cast<bool*>(args.out.data)[at[0]] = predicate<Computed>(args.op, a[at[1]], b[at[2]]);
        return;
      }
      T& out = static_cast<T*>(args.out.data)[at[0]];
      if constexpr (std::is_floating_point_v<Computed>)
        out = static_cast<T>(floating<Computed>(args.op, a[at[1]], b[at[2]]));
      else if constexpr (!std::is_same_v<T, bool>)
        out = integral<T>(args.op, a[at[1]], b[at[2]]);
    });
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
