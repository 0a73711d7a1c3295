// Elementary functions for float, written without branches so that a loop over them becomes vector code. The
// largest error in units in the last place, tested over the whole range of float (every 4099th in
// tests/test_activation.py; once every 16th, with AVX-512, by scripts/check_math.py, which can take all):
//
//   exp         2 ulp; 0 below -104, infinity above 88.73; denormal results are right
//   expm1       4 ulp
//   log         2 ulp for x > 0; -infinity at 0, NaN below
//   log1p       3 ulp for x > -1; -infinity at -1, NaN below
//   sigmoid     3 ulp above -87; below, where the result is denormal, 0 may come early
//   tanh        3 ulp
//   erf         3 ulp
//   exp_flushed 2 ulp; 0 below -87.33, infinity above 88.37
//   normal_cdf  5 + x^2 ulp for -13 < x < 0, below it 0; 2 for x >= 0
//
// NaN gives NaN in all of them. Method: the argument is reduced to a short interval (exp by powers of two,
// log to [sqrt 1/2, sqrt 2)), there a polynomial. exp's is the Taylor series; the others were fitted at
// Chebyshev nodes (scripts/fit_math.py). Selections compile to blends.
#pragma once
#include <cstdint>

namespace weft::cpu::WEFT_ISA {

#define WEFT_MATH [[gnu::always_inline]] inline

WEFT_MATH float bits_to_float(std::int32_t i) { return __builtin_bit_cast(float, i); }
WEFT_MATH std::int32_t float_to_bits(float x) { return __builtin_bit_cast(std::int32_t, x); }

// e^r - 1 - r for |r| <= 0.35.
WEFT_MATH float exp_tail(float r) {
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  return p * r * r;
}

// x = n log 2 + r with |r| <= log(2) / 2. log 2 in two parts: n times the first is exact.
WEFT_MATH float reduce_exp(float x, float& n) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  n = (x * 1.44269504f + magic) - magic;
  return (x - n * 0.693359375f) - n * -2.12194440e-4f;
}

WEFT_MATH float power_of_two(float n) { return bits_to_float((static_cast<std::int32_t>(n) + 127) << 23); }

WEFT_MATH float exp(float x) {
  // Beyond these the result is 0 or infinity anyway. NaN passes: the comparisons are false.
  const float clamped = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
  const float safe = clamped == clamped ? clamped : 0.0f;  // an int from NaN is undefined
  float n;
  const float r = reduce_exp(safe, n);
  // 2^n in two factors, for results below the smallest normal number and above 2^127.
  const float half = n * 0.5f + 12582912.0f - 12582912.0f;
  const float y = (exp_tail(r) + r + 1.0f) * power_of_two(half) * power_of_two(n - half);
  return x == x ? y : x;
}

// exp without denormal results: 0 below -87.33, infinity above 88.37; between them as exp. 2^n comes from the
// bits of the number that was rounded; n = -127 and 128 make its exponent that of 0 and of infinity.
WEFT_MATH float exp_flushed(float x) {
  constexpr float magic = 12582912.0f + 127.0f;
  const float above = x < -88.0f ? -88.0f : x;
  const float clamped = above > 88.8f ? 88.8f : above;
  const float shifted = clamped * 1.44269504f + magic, n = shifted - magic;
  const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  const auto bits = static_cast<std::uint32_t>(float_to_bits(shifted)) << 23;
  return (exp_tail(r) + r + 1.0f) * bits_to_float(static_cast<std::int32_t>(bits));
}

WEFT_MATH float expm1(float x) {
  const float near = exp_tail(x) + x;
  const float far = exp(x) - 1.0f;
  const float y = x > -0.34f && x < 0.34f ? near : far;
  return x == 0.0f ? x : y;  // keeps the sign of a zero
}

WEFT_MATH float log(float x) {
  const bool denormal = x < 1.17549435e-38f;
  const float scaled = denormal ? x * 8388608.0f : x;  // 2^23
  // Less the bits of sqrt(1/2); unsigned, because a negative x would leave the range of an int.
  const auto bits =
      static_cast<std::int32_t>(static_cast<std::uint32_t>(float_to_bits(scaled)) - 0x3f3504f3u);
  const float exponent = static_cast<float>(bits >> 23) - (denormal ? 23.0f : 0.0f);
  const float m = bits_to_float((bits & 0x007fffff) + 0x3f3504f3);
  const float t = m - 1.0f;
  float p = 6.971612e-02f;
  p = p * t - 1.1479734e-01f;
  p = p * t + 1.168542e-01f;
  p = p * t - 1.2425687e-01f;
  p = p * t + 1.4249058e-01f;
  p = p * t - 1.6667803e-01f;
  p = p * t + 2.0000716e-01f;
  p = p * t - 2.4999997e-01f;
  p = p * t + 3.333333e-01f;
  float y = p * t * t * t;
  y += exponent * -2.12194440e-4f;
  y -= 0.5f * t * t;
  y = t + y;
  y += exponent * 0.693359375f;
  y = x == 0.0f ? -__builtin_inff() : x < 0.0f ? __builtin_nanf("") : y;
  return x <= 3.4028235e38f ? y : x;  // infinity and NaN give themselves
}

// What 1 + x loses of x comes back as a correction.
WEFT_MATH float log1p(float x) {
  const float u = 1.0f + x;
  const float lost = x - (u - 1.0f);
  const float y = log(u) + (u > 0.0f ? lost / u : 0.0f);
  return x == 0.0f || x > 3.4028235e38f ? x : y;  // the sign of a zero; infinity
}

WEFT_MATH float sigmoid(float x) { return 1.0f / (1.0f + exp_flushed(-x)); }

WEFT_MATH float tanh(float x) {
  const float z = x * x;
  float p = -6.096714e-03f;
  p = p * z + 2.099718e-02f;
  p = p * z - 5.3850908e-02f;
  p = p * z + 1.333277e-01f;
  p = p * z - 3.3333328e-01f;
  const float near = x * (1.0f + z * p);  // keeps the sign of a zero
  const float size = __builtin_fabsf(x);
  const float far = __builtin_copysignf(1.0f - 2.0f / (exp_flushed(2.0f * size) + 1.0f), x);
  return size < 0.625f ? near : far;
}

// erfc(x) e^(x^2) for x >= 1/2, by a polynomial in 1 / (1 + 0.38 x).
WEFT_MATH float scaled_erfc(float x) {
  const float t = 1.0f / (1.0f + 0.38f * x);
  float p = 0.037697236f;
  p = p * t - 0.11071072f;
  p = p * t + 0.066777867f;
  p = p * t + 0.0040274809f;
  p = p * t + 0.082322391f;
  p = p * t + 0.12423393f;
  p = p * t + 0.16797142f;
  p = p * t + 0.19891469f;
  p = p * t + 0.21439196f;
  p = p * t + 0.21439204f;
  return p * t;
}

// erf for |x| <= 1.
WEFT_MATH float erf_near(float x) {
  const float z = x * x;
  float p = -9.667045e-06f;
  p = p * z + 1.1265959e-04f;
  p = p * z - 8.4840803e-04f;
  p = p * z + 5.2210316e-03f;
  p = p * z - 2.686543e-02f;
  p = p * z + 1.1283782e-01f;
  p = p * z - 3.7612638e-01f;
  p = p * z + 1.1283792e+00f;
  return p * x;
}

WEFT_MATH float erf(float x) {
  const float size = __builtin_fabsf(x);
  const float far = 1.0f - exp_flushed(-size * size) * scaled_erfc(size);
  const float y = size < 1.0f ? erf_near(x) : __builtin_copysignf(far, x);
  return x == x ? y : x;
}

// exp(-x^2 / 2) / 2; 0 where that is below the smallest normal number. As a power of two: the argument's own
// rounding costs x^2 ulp in any way, so log 2 needs no second part.
WEFT_MATH float half_bell(float x) {
  constexpr float magic = 12582912.0f + 126.0f;
  const float y = x * x * -0.72134752f;
  const float clamped = y < -126.0f ? -126.0f : y;
  const float shifted = clamped + magic;
  const float r = clamped - (shifted - magic);
  float p = 1.5453163e-04f;
  p = p * r + 1.3390863e-03f;
  p = p * r + 9.6180826e-03f;
  p = p * r + 5.5503571e-02f;
  p = p * r + 2.4022651e-01f;
  p = p * r + 6.9314719e-01f;
  p = p * r + 1.0f;
  const auto bits = static_cast<std::uint32_t>(float_to_bits(shifted)) << 23;
  return p * bits_to_float(static_cast<std::int32_t>(bits));
}

// The normal distribution function less 1/2, for x^2 <= 1/2.
WEFT_MATH float normal_near(float x) {
  const float z = x * x;
  float p = 0.00010427798f;
  p = p * z - 0.0011825359f;
  p = p * z + 0.0099727083f;
  p = p * z - 0.066490327f;
  p = p * z + 0.39894228f;
  return p * x;
}

// The normal distribution's cumulative function, (1 + erf(x / sqrt 2)) / 2, without cancellation for x < 0;
// half_density is exp(-x^2 / 2) / 2, of which the density is a multiple.
WEFT_MATH float normal_cdf(float x, float& half_density) {
  half_density = half_bell(x);
  const float size = __builtin_fabsf(x), tail = half_density * scaled_erfc(size * 0.70710678f);
  const float far = x < 0.0f ? tail : 1.0f - tail, near = 0.5f + normal_near(x);
  return size < 0.70710678f ? near : far;  // NaN is far
}
WEFT_MATH float normal_cdf(float x) {
  float half_density;
  return normal_cdf(x, half_density);
}

#undef WEFT_MATH

}  // namespace weft::cpu::WEFT_ISA
