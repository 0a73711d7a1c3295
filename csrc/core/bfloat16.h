// bfloat16: the upper half of a float, so float's range with 8 bits of precision instead of 24. C++ has no
// arithmetic on it: whoever computes converts to float, which is exact, and rounds the result, to the
// nearest, ties to even. NaN stays NaN, infinities and denormals are kept; beyond the largest number is
// infinity.
//
// Branch-free, so that a loop over casts becomes vector code; always_inline, because sources that are
// compiled once per instruction set must not carry a mergeable copy (docs/kernels.md).
#pragma once
#include <cstdint>

#include "core/host_device.h"

namespace weft {

struct BFloat16 {
  std::uint16_t bits;

  BFloat16() = default;
  [[gnu::always_inline]] WEFT_HOST_DEVICE explicit BFloat16(float x) : bits(rounded(x)) {}
  [[gnu::always_inline]] WEFT_HOST_DEVICE explicit BFloat16(double x) : bits(rounded(to_odd(x))) {}
  // Whole numbers up to 2^53 are rounded once; above, to a double first.
  template <class Integer>
  [[gnu::always_inline]] WEFT_HOST_DEVICE explicit BFloat16(Integer x) : BFloat16(static_cast<double>(x)) {}

  [[gnu::always_inline]] WEFT_HOST_DEVICE operator float() const {
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
  }

 private:
  [[gnu::always_inline]] WEFT_HOST_DEVICE static std::uint16_t rounded(float x) {
    const auto u = __builtin_bit_cast(std::uint32_t, x);
    const std::uint32_t nearest = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    const std::uint32_t quiet = u >> 16 | 0x40;  // NaN: its payload's upper bits
    return static_cast<std::uint16_t>((u & 0x7fffffff) > 0x7f800000 ? quiet : nearest);
  }

  // To float with the last bit set where x lies between two floats, so that rounding again, to fewer bits,
  // gives what rounding x at once would. Source: Boldo, Melquiond, "Emulation of a FMA and correctly rounded
  // sums: proved algorithms using rounding to odd", 2008.
  [[gnu::always_inline]] WEFT_HOST_DEVICE static float to_odd(double x) {
    const float near = static_cast<float>(x);
    const double back = static_cast<double>(near);
    const std::uint32_t inexact = back != x, above = __builtin_fabs(back) > __builtin_fabs(x);
    return __builtin_bit_cast(float, (__builtin_bit_cast(std::uint32_t, near) - above) | inexact);
  }
};

}  // namespace weft
