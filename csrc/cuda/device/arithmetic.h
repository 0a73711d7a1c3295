// What the elementwise operations do to one element; the rules (NaN, whole numbers that wrap, division by
// zero) are those of ops/elementwise.h. T is the type that is computed in: float for bfloat16, uint8 for
// bool.
#pragma once
#include "cuda/device/math.h"
#include "ops/elementwise.h"

namespace weft::cuda {

template <class T>
constexpr bool is_real = false;
template <>
inline constexpr bool is_real<float> = true;
template <>
inline constexpr bool is_real<double> = true;

template <class T>
__device__ __forceinline__ bool is_negative(T x) {
  if constexpr (std::is_signed_v<T> || is_real<T>) return x < 0;
  return false;
}

// The type in which whole numbers are added and multiplied: unsigned, where wrapping around is defined.
template <class T>
struct Wrapping {
  using type = T;
};
template <>
struct Wrapping<std::int64_t> {
  using type = std::uint64_t;
};
template <>
struct Wrapping<std::int32_t> {
  using type = std::uint32_t;
};
template <>
struct Wrapping<std::uint8_t> {
  using type = std::uint32_t;
};

template <UnaryOp op, class T>
__device__ __forceinline__ auto apply(T x, T low, T high) {
  using U = typename Wrapping<T>::type;
  using Bool = std::uint8_t;
  (void)low, (void)high;
  if constexpr (op == UnaryOp::isnan)
    return static_cast<Bool>(x != x);
  else if constexpr (op == UnaryOp::isfinite)
    return static_cast<Bool>(is_real<T> ? x - x == 0 : true);
  else if constexpr (op == UnaryOp::logical_not)
    return static_cast<Bool>(x == 0);
  else if constexpr (op == UnaryOp::neg)
    return is_real<T> ? static_cast<T>(-x) : static_cast<T>(U(0) - static_cast<U>(x));
  else if constexpr (op == UnaryOp::abs && is_real<T>)
    return math::fabs(x);
  else if constexpr (op == UnaryOp::abs)
    return static_cast<T>(is_negative(x) ? U(0) - static_cast<U>(x) : static_cast<U>(x));
  else if constexpr (op == UnaryOp::sign)
    return x > 0 ? T(1) : is_negative(x) ? static_cast<T>(-1) : x;
  else if constexpr (op == UnaryOp::square)
    return static_cast<T>(static_cast<U>(x) * static_cast<U>(x));
  else if constexpr (op == UnaryOp::clip)
    return x < low ? low : x > high ? high : x;
  else if constexpr (!is_real<T>)
    return x;  // floor, ceil and round of whole numbers
  else if constexpr (op == UnaryOp::sqrt)
    return math::sqrt(x);
  else if constexpr (op == UnaryOp::rsqrt)
    return 1 / math::sqrt(x);
  else if constexpr (op == UnaryOp::reciprocal)
    return 1 / x;
  else if constexpr (op == UnaryOp::exp)
    return math::exp(x);
  else if constexpr (op == UnaryOp::expm1)
    return math::expm1(x);
  else if constexpr (op == UnaryOp::log)
    return math::log(x);
  else if constexpr (op == UnaryOp::log1p)
    return math::log1p(x);
  else if constexpr (op == UnaryOp::sin)
    return math::sin(x);
  else if constexpr (op == UnaryOp::cos)
    return math::cos(x);
  else if constexpr (op == UnaryOp::erf)
    return math::erf(x);
  else if constexpr (op == UnaryOp::floor)
    return math::floor(x);
  else if constexpr (op == UnaryOp::ceil)
    return math::ceil(x);
  else
    return math::rint(x);  // halves to even
}

// a = b q + r with a whole q, and r of b's sign. fmod is exact, a / b is not.
template <BinaryOp op, class T>
__device__ __forceinline__ T divide_down(T a, T b) {
  if constexpr (is_real<T>) {
    const T cut = math::fmod(a, b);
    const bool below = cut != 0 && is_negative(cut) != is_negative(b);
    if constexpr (op == BinaryOp::remainder) return below ? cut + b : cut;
    return b == 0 ? a / b : math::rint((a - cut) / b) - (below ? 1 : 0);
  } else {
    // The smallest number by -1 does not fit, and wraps.
    if (b == 0) return 0;
    if constexpr (std::is_signed_v<T>)
      if (b == -1)
        return op == BinaryOp::remainder ? T(0)
                                         : static_cast<T>(0 - static_cast<typename Wrapping<T>::type>(a));
    const T quotient = static_cast<T>(a / b), cut = static_cast<T>(a % b);
    const bool below = cut != 0 && is_negative(cut) != is_negative(b);
    if constexpr (op == BinaryOp::remainder) return static_cast<T>(cut + (below ? b : 0));
    return static_cast<T>(quotient - (below ? 1 : 0));
  }
}

template <class T>
__device__ __forceinline__ T power(T base, T exponent) {
  if constexpr (is_real<T>) {
    return exponent == 2 ? base * base : math::pow(base, exponent);  // what people write is a product
  } else {
    using U = typename Wrapping<T>::type;
    if (is_negative(exponent))
      return base == 1 ? T(1) : base == static_cast<T>(-1) ? (exponent % 2 ? T(-1) : T(1)) : T(0);
    U result = 1, square = static_cast<U>(base);
    for (U left = static_cast<U>(exponent); left; left >>= 1, square *= square)
      if (left & 1) result *= square;
    return static_cast<T>(result);
  }
}

template <BinaryOp op, class T>
__device__ __forceinline__ auto apply(T a, T b) {
  using U = typename Wrapping<T>::type;
  using Bool = std::uint8_t;
  if constexpr (op == BinaryOp::add)
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  else if constexpr (op == BinaryOp::sub)
    return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
  else if constexpr (op == BinaryOp::mul)
    return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
  else if constexpr (op == BinaryOp::div)
    return a / b;
  else if constexpr (op == BinaryOp::pow)
    return power(a, b);
  else if constexpr (op == BinaryOp::floor_divide || op == BinaryOp::remainder)
    return divide_down<op>(a, b);
  else if constexpr (op == BinaryOp::maximum)  // NaN: a >= b is false, then b; a itself where it is NaN
    return a >= b || a != a ? a : b;
  else if constexpr (op == BinaryOp::minimum)
    return a <= b || a != a ? a : b;
  else if constexpr (op == BinaryOp::eq)
    return static_cast<Bool>(a == b);
  else if constexpr (op == BinaryOp::ne)
    return static_cast<Bool>(a != b);
  else if constexpr (op == BinaryOp::lt)
    return static_cast<Bool>(a < b);
  else if constexpr (op == BinaryOp::le)
    return static_cast<Bool>(a <= b);
  else if constexpr (op == BinaryOp::gt)
    return static_cast<Bool>(a > b);
  else if constexpr (op == BinaryOp::ge)
    return static_cast<Bool>(a >= b);
  else if constexpr (op == BinaryOp::logical_and)
    return static_cast<Bool>((a != 0) & (b != 0));
  else if constexpr (op == BinaryOp::logical_or)
    return static_cast<Bool>((a != 0) | (b != 0));
  else
    return static_cast<Bool>((a != 0) != (b != 0));
}

// A cast. Floats are cut towards zero; those that a whole number's type cannot hold, NaN among them, give
// what the CPU's instruction gives: the smallest number of 32 bits (of 64 to int64), of which uint8 takes the
// last byte.
template <class To, class From>
__device__ __forceinline__ To convert(From x) {
  constexpr bool from_real = is_real<Wide<From>>;
  if constexpr (sizeof(To) == sizeof(From) && dtype_of<To>::value == dtype_of<From>::value) {
    return x;
  } else if constexpr (dtype_of<To>::value == DType::bool_) {
    return Wide<From>(x) != 0;
  } else if constexpr (from_real && dtype_of<To>::value == DType::int64) {
    const Wide<From> wide = x;
    return math::fabs(wide) < Wide<From>(0x1p63) ? static_cast<To>(wide)
                                                 : static_cast<To>(std::uint64_t{1} << 63);
  } else if constexpr (from_real && !is_real<Wide<To>>) {
    const Wide<From> wide = x;
    return static_cast<To>(math::fabs(wide) < Wide<From>(0x1p31) ? static_cast<int>(wide) : -0x7fffffff - 1);
  } else {
    return static_cast<To>(Wide<From>(x));
  }
}

}  // namespace weft::cuda
