// The functions of <cmath> under one name for float and double, so that templates can call them. In float
// they are the float versions; CUDA documents their errors (1 to 4 ulp).
#pragma once
#include <cmath>

#include "cuda/device/device.h"

namespace weft::cuda::math {

#define WEFT_MATH_1(name)                                                 \
  __device__ __forceinline__ float name(float x) { return ::name##f(x); } \
  __device__ __forceinline__ double name(double x) { return ::name(x); }
WEFT_MATH_1(exp)
WEFT_MATH_1(expm1)
WEFT_MATH_1(log)
WEFT_MATH_1(log1p)
WEFT_MATH_1(sqrt)
WEFT_MATH_1(sin)
WEFT_MATH_1(cos)
WEFT_MATH_1(tanh)
WEFT_MATH_1(erf)
WEFT_MATH_1(erfc)
WEFT_MATH_1(fabs)
WEFT_MATH_1(floor)
WEFT_MATH_1(ceil)
WEFT_MATH_1(rint)
#undef WEFT_MATH_1

#define WEFT_MATH_2(name)                                                             \
  __device__ __forceinline__ float name(float x, float y) { return ::name##f(x, y); } \
  __device__ __forceinline__ double name(double x, double y) { return ::name(x, y); }
WEFT_MATH_2(pow)
WEFT_MATH_2(fmod)
#undef WEFT_MATH_2

}  // namespace weft::cuda::math
