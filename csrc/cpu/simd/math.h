// Elementary functions for float, written without branches so that a loop over them becomes vector code. The
// largest error in units in the last place, tested over the whole range of float (every 4099th in
// tests/kernels/test_activation.py; once every 16th, with AVX-512, by scripts/check/check_math.py, which can take all):
//
//   exp         2 ulp; 0 below -104, infinity above 88.73; denormal results are right
//   expm1       4 ulp
//   log         2 ulp for x > 0; -infinity at 0, NaN below
//   log1p       3 ulp for x > -1; -infinity at -1, NaN below
//   sigmoid     3 ulp above -87; below, where the result is denormal, 0 may come early
//   tanh        3 ulp
//   erf         3 ulp
//   exp_flushed 2 ulp; 0 below -87.33, infinity above 88.37
//   normal_cdf  5 + x^2 ulp for -13 < x < 0, below it 0; 2 for x >= 0; simd/normal_cdf.h has it by a table
//
// Those that are templates take a float or a vector of them (T). Over the vectors a kernel goes by itself: of
// a loop over floats GCC 12 makes two copies where a value is clamped at both ends, and blends them.
//
// NaN gives NaN in all of them. Method: the argument is reduced to a short interval (exp by powers of two,
// log to [sqrt 1/2, sqrt 2)), there a polynomial. exp's is the Taylor series; the others were fitted at
// Chebyshev nodes (scripts/generate/fit_math.py). Selections compile to blends.
#pragma once
#include <cstdint>

#include "cpu/simd/lanes.h"

namespace weft::cpu::WEFT_ISA {

#define WEFT_MATH [[gnu::always_inline]] inline

using FloatVec = VecOf<float>::type;
using IntVec = LaneIndex<float>::type;

WEFT_MATH float bits_to_float(std::int32_t i) { return __builtin_bit_cast(float, i); }
WEFT_MATH std::int32_t float_to_bits(float x) { return __builtin_bit_cast(std::int32_t, x); }

WEFT_MATH float absolute(float x) { return __builtin_fabsf(x); }
WEFT_MATH FloatVec absolute(FloatVec x) {
  return reinterpret_cast<FloatVec>(reinterpret_cast<IntVec>(x) & 0x7fffffff);
}
WEFT_MATH float with_sign(float size, float sign) { return __builtin_copysignf(size, sign); }
WEFT_MATH FloatVec with_sign(FloatVec size, FloatVec sign) {  // size >= 0
  return reinterpret_cast<FloatVec>(reinterpret_cast<IntVec>(size) |
                                    (reinterpret_cast<IntVec>(sign) & (-0x7fffffff - 1)));
}

// The smaller and the larger one of x and a constant; NaN passes. The processor's own instructions give their
// second operand where one is NaN.
WEFT_MATH float at_most(float c, float x) { return x > c ? c : x; }
WEFT_MATH float at_least(float c, float x) { return x < c ? c : x; }
WEFT_MATH FloatVec at_most(float c, FloatVec x) {
#if defined(WEFT_ISA_avx512)
  return __builtin_ia32_minps512_mask(FloatVec{} + c, x, x, 0xffff, 4);
#elif defined(WEFT_ISA_avx2)
  return __builtin_ia32_minps256(FloatVec{} + c, x);
#else
  return x > c ? FloatVec{} + c : x;
#endif
}
WEFT_MATH FloatVec at_least(float c, FloatVec x) {
#if defined(WEFT_ISA_avx512)
  return __builtin_ia32_maxps512_mask(FloatVec{} + c, x, x, 0xffff, 4);
#elif defined(WEFT_ISA_avx2)
  return __builtin_ia32_maxps256(FloatVec{} + c, x);
#else
  return x < c ? FloatVec{} + c : x;
#endif
}

// A whole number n from -127 to 128 plus this is a float whose lowest bits are n + 127, the exponent's bits
// of 2^n (those of 0 and of infinity at the ends).
constexpr float exponent_magic = 12582912.0f + 127.0f;
WEFT_MATH float exponent_of(float shifted) {
  return bits_to_float(static_cast<std::int32_t>(static_cast<std::uint32_t>(float_to_bits(shifted)) << 23));
}
WEFT_MATH FloatVec exponent_of(FloatVec shifted) {
  return reinterpret_cast<FloatVec>(reinterpret_cast<IntVec>(shifted) << 23);
}

// (2^r - 1) / r for |r| <= 1/2.
template <class T>
WEFT_MATH T exp2_slope(T r) {
  T p = r * 1.5453163e-04f + 1.3390863e-03f;
  p = p * r + 9.6180826e-03f;
  p = p * r + 5.5503571e-02f;
  p = p * r + 2.4022651e-01f;
  return p * r + 6.9314719e-01f;
}

// e^r - 1 - r for |r| <= 0.35.
template <class T>
WEFT_MATH T exp_tail(T r) {
  T p = r * (1.0f / 5040) + 1.0f / 720;
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
template <class T>
WEFT_MATH T exp_flushed(T x) {
  const T clamped = at_most(88.8f, at_least(-88.0f, x));
  const T shifted = clamped * 1.44269504f + exponent_magic, n = shifted - exponent_magic;
  const T r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  return (exp_tail(r) + r + 1.0f) * exponent_of(shifted);
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

// 1 / (1 + e^-x); the exponential as in exp_flushed.
template <class T>
WEFT_MATH T sigmoid(T x) {
  const T clamped = at_least(-87.4f, at_most(87.4f, x));
  const T shifted = clamped * -1.44269504f + exponent_magic, n = shifted - exponent_magic;
  const T r = (n * -0.693359375f - clamped) - n * -2.12194440e-4f;
  T p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  const T y = 1.0f / (1.0f + (p * r + 1.0f) * exponent_of(shifted));
  return x < -87.3365f ? T{} : y;
}

// u / (u + 2) with u = e^(2 |x|) - 1 = 2^n e^r - 1 = 2^n (e^r - 1) + (2^n - 1): no digits cancel. Above 9.02
// it rounds to 1.
template <class T>
WEFT_MATH T tanh(T x) {
  const T twice = 2.0f * at_most(9.5f, absolute(x));
  const T shifted = twice * 1.44269504f + exponent_magic, n = shifted - exponent_magic;
  const T r = (twice - n * 0.693359375f) - n * -2.12194440e-4f, power = exponent_of(shifted);
  const T u = (exp_tail(r) + r) * power + (power - 1.0f);
  return with_sign(u / (u + 2.0f), x);  // keeps the sign of a zero
}

// erfc(x) e^(x^2) for x >= 1/2, by a polynomial in 1 / (1 + 0.38 x).
template <class T>
WEFT_MATH T scaled_erfc(T x) {
  const T t = 1.0f / (1.0f + 0.38f * x);
  T p = t * 0.037697236f - 0.11071072f;
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
template <class T>
WEFT_MATH T half_bell(T x) {
  constexpr float magic = exponent_magic - 1;
  const T y = at_least(-126.0f, x * x * -0.72134752f);
  const T shifted = y + magic, r = y - (shifted - magic);
  return (1.0f + r * exp2_slope(r)) * exponent_of(shifted);
}

// The normal distribution function less 1/2, for x^2 <= 1/2.
template <class T>
WEFT_MATH T normal_near(T x) {
  const T z = x * x;
  T p = z * 0.00010427798f - 0.0011825359f;
  p = p * z + 0.0099727083f;
  p = p * z - 0.066490327f;
  p = p * z + 0.39894228f;
  return p * x;
}

// The normal distribution's cumulative function, (1 + erf(x / sqrt 2)) / 2, without cancellation for x < 0;
// half_density is half_bell(x), of which the density is a multiple.
template <class T>
WEFT_MATH T normal_cdf(T x, T half_density) {
  const T size = absolute(x), tail = half_density * scaled_erfc(size * 0.70710678f);
  const T far = x < 0.0f ? tail : 1.0f - tail, near = 0.5f + normal_near(x);
  return size < 0.70710678f ? near : far;  // NaN is far
}

#undef WEFT_MATH

}  // namespace weft::cpu::WEFT_ISA
