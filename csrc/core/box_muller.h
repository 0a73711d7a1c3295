// Two numbers of the normal distribution from two random words (Box, Muller 1958):
//
//   sqrt(-2 ln u1) cos(2 pi u2), sqrt(-2 ln u1) sin(2 pi u2)
//
// with u1 in (0, 1] and u2 in [0, 1) of 24 bits in float, of 32 in double. The elementary functions are
// written out, so that sources compiled without contraction get the same bits on every processor and GPU,
// whatever their libraries do. Each is within two units in the last place.
//
// The angle is cut into quarter turns on the word itself, exactly; what is left, at most an eighth of a turn,
// goes into the Taylor series of sine and cosine. The logarithm: u1 = 2^n m with m from sqrt(1/2) to sqrt(2);
// in float a polynomial in m - 1 (scripts/generate/fit_math.py, as in cpu/simd/math.h), in double the series of 2
// artanh((m - 1) / (m + 1)).
#pragma once
#include <cstdint>

#include "core/host_device.h"

namespace weft {

#define WEFT_NORMAL [[gnu::always_inline]] WEFT_HOST_DEVICE inline

template <class T>
struct Turn {
  T cosine, sine;
};

// Of `quarters` quarter turns and an angle more, whose sine and cosine are given.
template <class T>
WEFT_NORMAL Turn<T> turned(std::uint32_t quarters, T cosine, T sine) {
  const T a = quarters & 1 ? sine : cosine, b = quarters & 1 ? cosine : sine;
  return {(quarters + 1) & 2 ? -a : a, quarters & 2 ? -b : b};
}

// The turn 2 pi word / 2^32, in float by the upper 24 bits.
WEFT_NORMAL Turn<float> turn_of(std::uint32_t word, float) {
  const std::uint32_t k = word >> 8, quarters = (k + (1u << 21)) >> 22;
  const float x =
      static_cast<float>(static_cast<std::int32_t>(k) - static_cast<std::int32_t>(quarters << 22)) *
      3.7450702829e-07f;  // 2 pi / 2^24
  const float z = x * x;
  const float s = ((2.7557319e-06f * z - 1.9841270e-04f) * z + 8.3333333e-03f) * z - 1.6666667e-01f;
  const float c =
      (((-2.7557319e-07f * z + 2.4801587e-05f) * z - 1.3888889e-03f) * z + 4.1666667e-02f) * z - 0.5f;
  return turned(quarters, 1.0f + c * z, x + s * z * x);
}
WEFT_NORMAL Turn<double> turn_of(std::uint32_t word, double) {
  const auto quarters = static_cast<std::uint32_t>((std::uint64_t{word} + (1u << 29)) >> 30);
  const double x = static_cast<double>(static_cast<std::int64_t>(word) - (std::int64_t{quarters} << 30)) *
                   1.46291807926715968105e-09;  // 2 pi / 2^32
  const double z = x * x;
  double s = 1.0 / 355687428096000.0;
  s = s * z - 1.0 / 1307674368000.0;
  s = s * z + 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  double c = 1.0 / 20922789888000.0;
  c = c * z - 1.0 / 87178291200.0;
  c = c * z + 1.0 / 479001600.0;
  c = c * z - 1.0 / 3628800.0;
  c = c * z + 1.0 / 40320.0;
  c = c * z - 1.0 / 720.0;
  c = c * z + 1.0 / 24.0;
  c = c * z - 0.5;
  return turned(quarters, 1.0 + c * z, x + s * z * x);
}

// ln u for 2^-32 <= u <= 1.
WEFT_NORMAL float log_of_unit(float u) {
  const auto bits =
      static_cast<std::int32_t>(__builtin_bit_cast(std::uint32_t, u) - 0x3f3504f3u);  // sqrt(1/2)
  const float n = static_cast<float>(bits >> 23);
  const float t =
      __builtin_bit_cast(float, static_cast<std::uint32_t>((bits & 0x007fffff) + 0x3f3504f3)) - 1.0f;
  float p = 6.971612e-02f;
  p = p * t - 1.1479734e-01f;
  p = p * t + 1.168542e-01f;
  p = p * t - 1.2425687e-01f;
  p = p * t + 1.4249058e-01f;
  p = p * t - 1.6667803e-01f;
  p = p * t + 2.0000716e-01f;
  p = p * t - 2.4999997e-01f;
  p = p * t + 3.333333e-01f;
  float y = p * t * t * t + n * -2.12194440e-4f;  // ln 2 in two parts
  y = t + (y - 0.5f * t * t);
  return y + n * 0.693359375f;
}
WEFT_NORMAL double log_of_unit(double u) {
  constexpr std::uint64_t low = 0x3fe6a09e667f3bcdu;  // sqrt(1/2)
  const auto bits = static_cast<std::int64_t>(__builtin_bit_cast(std::uint64_t, u) - low);
  const double n = static_cast<double>(bits >> 52);
  const double m = __builtin_bit_cast(double, (static_cast<std::uint64_t>(bits) & 0x000fffffffffffffu) + low);
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 23.0;
  p = p * z + 1.0 / 21.0;
  p = p * z + 1.0 / 19.0;
  p = p * z + 1.0 / 17.0;
  p = p * z + 1.0 / 15.0;
  p = p * z + 1.0 / 13.0;
  p = p * z + 1.0 / 11.0;
  p = p * z + 1.0 / 9.0;
  p = p * z + 1.0 / 7.0;
  p = p * z + 1.0 / 5.0;
  p = p * z + 1.0 / 3.0;
  const double y = 2.0 * s + (2.0 * s * z * p + n * 1.90821492927058770002e-10);
  return y + n * 6.93147180369123816490e-01;
}

// u1 of a word: in (0, 1], 1 - u without a rounding.
WEFT_NORMAL float unit_not_zero(std::uint32_t word, float) {
  return static_cast<float>((word >> 8) + 1) * 0x1p-24f;
}
WEFT_NORMAL double unit_not_zero(std::uint32_t word, double) {
  return (static_cast<double>(word) + 1) * 0x1p-32;
}

#undef WEFT_NORMAL

}  // namespace weft
