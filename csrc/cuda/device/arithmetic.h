// What the elementwise operations do to one element; the rules (NaN, whole numbers that wrap, division by
// zero) are those of ops/elementwise.h. T is the type that is computed in: float for bfloat16, uint8 for
// bool.
#pragma once
#include "cuda/device/math.h"
#include "ops/formulas.h"

namespace weft::cuda {

using formulas::is_real;

// Of these formulas: what math.h has and more of the C library.
namespace library {
#define WEFT_MATH(name)                                                   \
  __device__ __forceinline__ float name(float x) { return ::name##f(x); } \
  __device__ __forceinline__ double name(double x) { return ::name(x); }
WEFT_LIBRARY(WEFT_MATH)
#undef WEFT_MATH

using cuda::math::fmod;
template <class T>
__device__ __forceinline__ T pow(T base, T exponent) {
  return exponent == 2 ? base * base : cuda::math::pow(base, exponent);  // what people write is a product
}
}  // namespace library

namespace elementwise {
namespace math = library;
WEFT_DEFINE_APPLY(__device__ __forceinline__)
}  // namespace elementwise

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
