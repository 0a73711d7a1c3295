// The elementwise functions, each one line of a list that all devices share:
//
//   F(name, kind, cost, formula, formula of whole numbers, docstring)
//
//   kind    floating   float32, float64 or bfloat16, kept; no formula of whole numbers
//           number     any dtype but bool, kept
//           predicate  any dtype; gives bool
//   cost    cheap or costly: a costly one is worth a thread sooner, and on CUDA shares no kernel with cheap
//           ones, whose registers would be fewer
//
// In the formulas x (or a and b) has the type T that is computed in, which is float for bfloat16; u (or p and
// q) is the same number in a type that wraps around, Wrapping<T>; low and high are the bounds of clip. math::
// is what the including file gives it: the functions of WEFT_LIBRARY, by faster code where it has that.
//
// A line added here is compiled into every device, bound, and drawn by the tests.
#pragma once
#include <cstdint>
#include <type_traits>

#include "core/enum.h"
#include "core/host_device.h"
#include "ops/elementwise.h"

#define WEFT_FORMULA [[gnu::always_inline]] WEFT_HOST_DEVICE inline

// Functions of the C library with one argument and with two, which math:: must have for float and double.
#define WEFT_LIBRARY(F) \
  F(fabs)               \
  F(sqrt)               \
  F(exp)                \
  F(expm1)              \
  F(log)                \
  F(log1p)              \
  F(sin)                \
  F(cos)                \
  F(erf)                \
  F(erfc)               \
  F(floor)              \
  F(ceil)               \
  F(trunc)              \
  F(rint)
#define WEFT_LIBRARY_2(F) \
  F(pow)                  \
  F(fmod)

// clang-format off
#define WEFT_UNARY(F) \
  F(neg,         number,    cheap,  -x, 0 - u, "-x.") \
  F(abs,         number,    cheap,  math::fabs(x), is_negative(x) ? 0 - u : u, "|x|.") \
  F(sign,        number,    cheap,  sign_of(x), sign_of(x), "-1, 0 or 1; NaN for NaN.") \
  F(square,      number,    cheap,  x * x, u * u, "x * x.") \
  F(clip,        number,    cheap,  clipped(x, low, high), clipped(x, low, high), nullptr) \
  F(sqrt,        floating,  cheap,  math::sqrt(x), x, "The square root; NaN below 0.") \
  F(rsqrt,       floating,  cheap,  1 / math::sqrt(x), x, "1 / sqrt(x).") \
  F(reciprocal,  floating,  cheap,  1 / x, x, "1 / x.") \
  F(exp,         floating,  costly, math::exp(x), x, "e to the power x.") \
  F(expm1,       floating,  costly, math::expm1(x), x, "exp(x) - 1, exact near 0.") \
  F(log,         floating,  costly, math::log(x), x, "The natural logarithm; -inf at 0, NaN below.") \
  F(log1p,       floating,  costly, math::log1p(x), x, "log(1 + x), exact near 0.") \
  F(sin,         floating,  costly, math::sin(x), x, "The sine of x in radians.") \
  F(cos,         floating,  costly, math::cos(x), x, "The cosine of x in radians.") \
  F(erf,         floating,  costly, math::erf(x), x, \
    "The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.") \
  F(erfc,        floating,  costly, math::erfc(x), x, "1 - erf(x), exact where erf(x) is near 1.") \
  F(floor,       number,    cheap,  math::floor(x), x, "The largest whole number that is not above x.") \
  F(ceil,        number,    cheap,  math::ceil(x), x, "The smallest whole number that is not below x.") \
  F(round,       number,    cheap,  math::rint(x), x, "The nearest whole number, halves to the even one.") \
  F(trunc,       number,    cheap,  math::trunc(x), x, "x without what stands after its point.") \
  F(isnan,       predicate, cheap,  x != x, false, "Whether x is NaN.") \
  F(isfinite,    predicate, cheap,  x - x == 0, true, "Whether x is neither NaN nor infinite.") \
  F(logical_not, predicate, cheap,  x == 0, x == 0, "Whether x is 0.")

#define WEFT_BINARY(F) \
  F(add,          number,    cheap,  a + b, p + q, "a + b.") \
  F(sub,          number,    cheap,  a - b, p - q, "a - b.") \
  F(mul,          number,    cheap,  a * b, p * q, "a * b.") \
  F(div,          floating,  cheap,  a / b, a, "a / b, true division.") \
  F(pow,          number,    costly, math::pow(a, b), whole_power(a, b), \
    "a to the power b. A negative power of an integer is cut to a whole number.") \
  F(floor_divide, number,    costly, \
    b == 0 ? a / b : math::rint((a - math::fmod(a, b)) / b) - static_cast<T>(is_below(b, math::fmod(a, b))), \
    whole_quotient(a, b), "floor(a / b). An integer divided by 0 gives 0.") \
  F(remainder,    number,    costly, with_sign_of(b, math::fmod(a, b)), whole_remainder(a, b), \
    "a - b * floor(a / b), which has the sign of b. 0 for an integer b of 0.") \
  F(maximum,      number,    cheap,  a >= b || a != a ? a : b, a < b ? b : a, "The larger one; NaN if one is NaN.") \
  F(minimum,      number,    cheap,  a <= b || a != a ? a : b, b < a ? b : a, "The smaller one; NaN if one is NaN.") \
  F(eq,           predicate, cheap,  a == b, a == b, "a == b.") \
  F(ne,           predicate, cheap,  a != b, a != b, "a != b; True where one is NaN.") \
  F(lt,           predicate, cheap,  a < b, a < b, "a < b.") \
  F(le,           predicate, cheap,  a <= b, a <= b, "a <= b.") \
  F(gt,           predicate, cheap,  a > b, a > b, "a > b.") \
  F(ge,           predicate, cheap,  a >= b, a >= b, "a >= b.") \
  F(logical_and,  predicate, cheap,  (a != 0) & (b != 0), (a != 0) & (b != 0), "Whether both differ from 0.") \
  F(logical_or,   predicate, cheap,  (a != 0) | (b != 0), (a != 0) | (b != 0), "Whether one or both differ from 0.") \
  F(logical_xor,  predicate, cheap,  (a != 0) != (b != 0), (a != 0) != (b != 0), "Whether exactly one differs from 0.")
// clang-format on

namespace weft {

enum class UnaryOp : std::uint8_t { WEFT_UNARY(WEFT_ENUM_MEMBER) };
enum class BinaryOp : std::uint8_t { WEFT_BINARY(WEFT_ENUM_MEMBER) };

enum class Kind : std::uint8_t { floating, number, predicate };
enum class Cost : std::uint8_t { cheap, costly };

#define WEFT_KIND(name, kind, ...) \
  case Op::name: return Kind::kind;
#define WEFT_COST(name, kind, cost, ...) \
  case Op::name: return Cost::cost;
#define WEFT_TRAITS(Enum, LIST)               \
  WEFT_FORMULA constexpr Kind kind(Enum op) { \
    using Op = Enum;                          \
    switch (op) { LIST(WEFT_KIND) }           \
    return Kind::number;                      \
  }                                           \
  WEFT_FORMULA constexpr Cost cost(Enum op) { \
    using Op = Enum;                          \
    switch (op) { LIST(WEFT_COST) }           \
    return Cost::cheap;                       \
  }
WEFT_TRAITS(UnaryOp, WEFT_UNARY)
WEFT_TRAITS(BinaryOp, WEFT_BINARY)
#undef WEFT_TRAITS
#undef WEFT_KIND
#undef WEFT_COST

// --- parts of formulas; T is float, double, int64, int32 or uint8 ---

namespace formulas {

template <class T>
constexpr bool is_real = std::is_same_v<T, float> || std::is_same_v<T, double>;

// Unsigned, where wrapping around is defined; not below 32 bits, which C++ widens to signed ones.
template <class T>
using Wrapping =
    std::conditional_t<is_real<T>, T, std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>>;

template <class T>
WEFT_FORMULA bool is_negative(T x) {
  if constexpr (std::is_signed_v<T>) return x < 0;
  return false;
}
template <class T>
WEFT_FORMULA T sign_of(T x) {
  return x > 0 ? T(1) : is_negative(x) ? static_cast<T>(-1) : x;
}
template <class T>
WEFT_FORMULA T clipped(T x, T low, T high) {
  return x < low ? low : x > high ? high : x;
}

// a = b q + r with a whole q, and r of b's sign, as in Python. `cut` is fmod(a, b), which is exact, as a / b
// is not.
template <class T>
WEFT_FORMULA bool is_below(T b, T cut) {
  return cut != 0 && is_negative(cut) != is_negative(b);
}
template <class T>
WEFT_FORMULA T with_sign_of(T b, T cut) {
  return is_below(b, cut) ? cut + b : cut;
}
// Of whole numbers. The smallest one by -1 does not fit, and wraps.
template <class T>
WEFT_FORMULA T whole_quotient(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return static_cast<T>(0 - static_cast<Wrapping<T>>(a));
  return static_cast<T>(a / b - (is_below(b, static_cast<T>(a % b)) ? 1 : 0));
}
template <class T>
WEFT_FORMULA T whole_remainder(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return 0;
  const T cut = static_cast<T>(a % b);
  return static_cast<T>(is_below(b, cut) ? cut + b : cut);
}
template <class T>
WEFT_FORMULA T whole_power(T base, T exponent) {
  if (is_negative(exponent))
    return base == 1 ? T(1) : base == static_cast<T>(-1) ? (exponent % 2 ? static_cast<T>(-1) : T(1)) : T(0);
  using U = Wrapping<T>;
  U result = 1, square = static_cast<U>(base);
  for (U left = static_cast<U>(exponent); left; left >>= 1, square *= square)
    if (left & 1) result *= square;
  return static_cast<T>(result);
}

}  // namespace formulas

// Defines apply<op>(x, low, high) and apply<op>(a, b): one element's result, of type T, or uint8 for a
// predicate. Stands where math:: is found.
#define WEFT_APPLY(name, kind_, cost_, real, whole, doc) \
  if constexpr (op == Op::name) {                        \
    if constexpr (is_real<T>)                            \
      return static_cast<Result>(real);                  \
    else                                                 \
      return static_cast<Result>(whole);                 \
  }
#define WEFT_DEFINE_APPLY(INLINE)                                                    \
  template <UnaryOp op, class T>                                                     \
  INLINE auto apply(T x, T low, T high) {                                            \
    using Op = UnaryOp;                                                              \
    using namespace weft::formulas;                                                  \
    using Result = std::conditional_t<kind(op) == Kind::predicate, std::uint8_t, T>; \
    const auto u = static_cast<Wrapping<T>>(x);                                      \
    (void)u, (void)low, (void)high;                                                  \
    WEFT_UNARY(WEFT_APPLY)                                                           \
  }                                                                                  \
  template <BinaryOp op, class T>                                                    \
  INLINE auto apply(T a, T b) {                                                      \
    using Op = BinaryOp;                                                             \
    using namespace weft::formulas;                                                  \
    using Result = std::conditional_t<kind(op) == Kind::predicate, std::uint8_t, T>; \
    const auto p = static_cast<Wrapping<T>>(a), q = static_cast<Wrapping<T>>(b);     \
    (void)p, (void)q;                                                                \
    WEFT_BINARY(WEFT_APPLY)                                                          \
  }

}  // namespace weft
