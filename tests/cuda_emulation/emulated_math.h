// The device's arithmetic that the host's <cmath> doesn't have: bits, min and max, intrinsics. The
// approximate ones (__expf, __frcp_rn, ...) are computed exactly here; a device's differ within their
// documented error.
#pragma once

#include <math.h>

#include <cmath>
#include <cstring>
#include <type_traits>

#include "emulated_types.h"

namespace weft::emulated {
template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace weft::emulated

inline unsigned __float_as_uint(float x) { return weft::emulated::bits_as<unsigned>(x); }
inline int __float_as_int(float x) { return weft::emulated::bits_as<int>(x); }
inline float __uint_as_float(unsigned x) { return weft::emulated::bits_as<float>(x); }
inline float __int_as_float(int x) { return weft::emulated::bits_as<float>(x); }
inline long long __double_as_longlong(double x) { return weft::emulated::bits_as<long long>(x); }
inline double __longlong_as_double(long long x) { return weft::emulated::bits_as<double>(x); }

// Bits. As on a device, an argument of 0 is allowed everywhere.
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= ((x >> bit) & 1u) << (31 - bit);
  return reversed;
}
inline unsigned long long __brevll(unsigned long long x) {
  return static_cast<unsigned long long>(__brev(static_cast<unsigned>(x))) << 32 |
         __brev(static_cast<unsigned>(x >> 32));
}
// The upper (l) or lower (r) word of (high, low) shifted by shift % 32; _lc, _rc: by min(shift, 32).
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  const auto both = static_cast<unsigned long long>(high) << 32 | low;
  return static_cast<unsigned>(both << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  const auto both = static_cast<unsigned long long>(high) << 32 | low;
  return static_cast<unsigned>(both >> (shift & 31));
}
inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
  return shift >= 32 ? low : __funnelshift_l(low, high, shift);
}
inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
  return shift >= 32 ? high : __funnelshift_r(low, high, shift);
}
// Byte i of the result is byte (selector >> 4 i) & 7 of (y, x); bit 3 of it spreads that byte's sign.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const auto both = static_cast<unsigned long long>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned choice = selector >> (4 * i) & 0xF;
    unsigned byte = static_cast<unsigned>(both >> (8 * (choice & 7))) & 0xFF;
    if (choice & 8) byte = byte & 0x80 ? 0xFF : 0;
    result |= byte << (8 * i);
  }
  return result;
}

inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline long long __mul64hi(long long a, long long b) {
  return static_cast<long long>(static_cast<__int128>(a) * b >> 64);
}

// Rounding to nearest, and never contracted with what stands around.
inline float __fadd_rn(float a, float b) { return std::fmaf(a, 1.0f, b); }
inline float __fsub_rn(float a, float b) { return std::fmaf(a, 1.0f, -b); }
inline float __fmul_rn(float a, float b) { return static_cast<float>(static_cast<double>(a) * b); }
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __dadd_rn(double a, double b) { return std::fma(a, 1.0, b); }
inline double __dmul_rn(double a, double b) { return std::fma(a, b, -0.0); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }  // NaN: 0

// Conversions: NaN becomes 0, and what doesn't fit the nearest integer that there is.
inline int __float2int_rn(float x) {
  return x != x         ? 0
         : x >= 0x1p31f ? 0x7fffffff
         : x < -0x1p31f ? -0x7fffffff - 1
                        : static_cast<int>(std::rint(x));
}
inline int __float2int_rd(float x) { return __float2int_rn(std::floor(x)); }
inline int __float2int_ru(float x) { return __float2int_rn(std::ceil(x)); }
inline int __float2int_rz(float x) { return __float2int_rn(std::trunc(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

inline float rsqrtf(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float rcbrtf(float x) { return static_cast<float>(1.0 / std::cbrt(static_cast<double>(x))); }
inline double normcdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752440); }
inline float normcdff(float x) { return static_cast<float>(normcdf(static_cast<double>(x))); }
// sin and cos of pi x. remainder makes the argument small without an error.
inline void sincospi(double x, double* sine, double* cosine) {
  const double r = 3.14159265358979323846 * std::remainder(x, 2.0);
  const bool whole = x == std::floor(x), half = !whole && 2 * x == std::floor(2 * x);
  *sine = whole ? std::copysign(0.0, x) : std::sin(r);
  *cosine = half ? 0.0 : std::cos(r);
}
inline void sincospif(float x, float* sine, float* cosine) {
  double s, c;
  sincospi(x, &s, &c);
  *sine = static_cast<float>(s);
  *cosine = static_cast<float>(c);
}
inline double sinpi(double x) {
  double s, c;
  return sincospi(x, &s, &c), s;
}
inline double cospi(double x) {
  double s, c;
  return sincospi(x, &s, &c), c;
}
inline float sinpif(float x) { return static_cast<float>(sinpi(x)); }
inline float cospif(float x) { return static_cast<float>(cospi(x)); }

namespace weft::emulated {
inline void fast_sincos(float x, float* sine, float* cosine) {
  *sine = std::sin(x);
  *cosine = std::cos(x);
}
}  // namespace weft::emulated

// Macros, and after <cmath>: glibc declares functions of these names for itself.
#define __expf(x) ::std::exp(static_cast<float>(x))
#define __exp10f(x) ::exp10f(static_cast<float>(x))
#define __logf(x) ::std::log(static_cast<float>(x))
#define __log2f(x) ::std::log2(static_cast<float>(x))
#define __log10f(x) ::std::log10(static_cast<float>(x))
#define __sinf(x) ::std::sin(static_cast<float>(x))
#define __cosf(x) ::std::cos(static_cast<float>(x))
#define __tanf(x) ::std::tan(static_cast<float>(x))
#define __powf(x, y) ::std::pow(static_cast<float>(x), static_cast<float>(y))
#define __sincosf(x, sine, cosine) ::weft::emulated::fast_sincos(x, sine, cosine)

// min and max have CUDA's pairs of types: mixed signs become unsigned, a float beside a double a double.
#define WEFT_MIN_MAX(result, a, b)                                                   \
  constexpr result min(a x, b y) {                                                   \
    return static_cast<result>(x) < static_cast<result>(y) ? static_cast<result>(x)  \
                                                           : static_cast<result>(y); \
  }                                                                                  \
  constexpr result max(a x, b y) {                                                   \
    return static_cast<result>(x) > static_cast<result>(y) ? static_cast<result>(x)  \
                                                           : static_cast<result>(y); \
  }
WEFT_MIN_MAX(int, int, int)
WEFT_MIN_MAX(unsigned, unsigned, unsigned)
WEFT_MIN_MAX(unsigned, int, unsigned)
WEFT_MIN_MAX(unsigned, unsigned, int)
WEFT_MIN_MAX(long, long, long)
WEFT_MIN_MAX(unsigned long, unsigned long, unsigned long)
WEFT_MIN_MAX(unsigned long, long, unsigned long)
WEFT_MIN_MAX(unsigned long, unsigned long, long)
WEFT_MIN_MAX(long long, long long, long long)
WEFT_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
WEFT_MIN_MAX(unsigned long long, long long, unsigned long long)
WEFT_MIN_MAX(unsigned long long, unsigned long long, long long)
#undef WEFT_MIN_MAX
inline float min(float x, float y) { return std::fmin(x, y); }
inline float max(float x, float y) { return std::fmax(x, y); }
inline double min(double x, double y) { return std::fmin(x, y); }
inline double max(double x, double y) { return std::fmax(x, y); }
inline double min(float x, double y) { return std::fmin(static_cast<double>(x), y); }
inline double max(float x, double y) { return std::fmax(static_cast<double>(x), y); }
inline double min(double x, float y) { return std::fmin(x, static_cast<double>(y)); }
inline double max(double x, float y) { return std::fmax(x, static_cast<double>(y)); }
