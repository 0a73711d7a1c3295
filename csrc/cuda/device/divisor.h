// Division of indices by numbers that the host knows: a product and a shift instead of the dozens of
// instructions of an integer division. Source: Granlund, Montgomery, "Division by invariant integers using
// multiplication", 1994.
#pragma once
#include "cuda/device/device.h"

namespace weft::cuda {

// Problems with fewer elements are indexed by 31 bits. The emulator has too little memory for others: there
// the limit is low, so that small tests take both ways.
#if defined(WEFT_CUDA_EMULATED)
constexpr std::int64_t narrow_limit = 50000;
#else
constexpr std::int64_t narrow_limit = std::int64_t{1} << 31;
#endif

// n / d = (n m / 2^32 + n) / 2^s for n < 2^31, with s = ceil(log2 d) and m = 2^32 (2^s - d) / d + 1. d from 1
// on.
struct Divisor {
  unsigned divisor, factor, shift;

  Divisor() = default;
  explicit Divisor(std::int64_t d) : divisor(static_cast<unsigned>(d)), shift(0) {
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    factor = static_cast<unsigned>((((std::uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  __device__ __forceinline__ unsigned divide(unsigned n) const { return (__umulhi(n, factor) + n) >> shift; }
};

// The same interface for indices of 64 bits, by plain division.
struct WideDivisor {
  std::uint64_t divisor;

  WideDivisor() = default;
  explicit WideDivisor(std::int64_t d) : divisor(static_cast<std::uint64_t>(d)) {}
  __device__ __forceinline__ std::uint64_t divide(std::uint64_t n) const { return n / divisor; }
};

// f(Divisor{}) where indices below `limit` do, else f(WideDivisor{}).
template <class F>
void by_range(std::int64_t limit, F&& f) {
  if (limit <= narrow_limit) return f(Divisor{});
  f(WideDivisor{});
}

// n = quotient d + remainder.
template <class D, class I>
__device__ __forceinline__ I divide(const D& d, I n, I& remainder) {
  const I quotient = d.divide(n);
  remainder = n - quotient * d.divisor;
  return quotient;
}

}  // namespace weft::cuda
