// Division of indices by numbers that the host knows: a product and a shift instead of the dozens of
// instructions of an integer division. Source: Granlund, Montgomery, "Division by invariant integers using
// multiplication", 1994.
#pragma once
#include <cstdint>

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
  std::uint32_t divisor = 1, factor = 1, shift = 0;

  Divisor() = default;
  explicit Divisor(std::int64_t d) : divisor(static_cast<std::uint32_t>(d)) {
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    factor = static_cast<std::uint32_t>((((std::uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  __host__ __device__ std::uint32_t divide(std::uint32_t n) const {
    const auto high = static_cast<std::uint32_t>((std::uint64_t{n} * factor) >> 32);
    return (high + n) >> shift;  // below 2^32: high <= n < 2^31
  }
  __host__ __device__ std::uint32_t value() const { return divisor; }
  // n / d, n >= 0
  __host__ __device__ int quotient(int n) const {
    return static_cast<int>(divide(static_cast<std::uint32_t>(n)));
  }
  // n / d, and what is left in `rest`
  __host__ __device__ int divide(int n, int& rest) const {
    const int q = quotient(n);
    rest = n - q * static_cast<int>(divisor);
    return q;
  }
};

// The same interface for indices of 64 bits, by plain division.
struct WideDivisor {
  std::uint64_t divisor;

  WideDivisor() = default;
  explicit WideDivisor(std::int64_t d) : divisor(static_cast<std::uint64_t>(d)) {}
  __device__ __forceinline__ std::uint64_t divide(std::uint64_t n) const { return n / divisor; }
};

// n / d and its remainder for n < 2^52: where some are not below 2^31, by a quotient in double, which is off
// by one at most.
struct WideDivider {
  WideDivider() = default;
  // All dividends are below `limit`.
  WideDivider(std::int64_t by, std::int64_t limit)
      : narrow(limit <= two_31), number(by < 1 ? 1 : by), inverse(1 / static_cast<double>(number)) {
    if (narrow) quick = Divisor(number < two_31 ? number : two_31);
  }
  // n becomes the quotient; returns the remainder.
  __device__ std::int64_t split(std::int64_t& n) const {
    std::int64_t q = narrow ? quick.quotient(static_cast<int>(n))
                            : static_cast<std::int64_t>(static_cast<double>(n) * inverse);
    std::int64_t rest = n - q * number;
    if (rest < 0) {
      --q;
      rest += number;
    } else if (rest >= number) {
      ++q;
      rest -= number;
    }
    n = q;
    return rest;
  }
  static constexpr std::int64_t two_31 = std::int64_t{1} << 31;
  bool narrow = true;
  std::int64_t number = 1;
  double inverse = 1;
  Divisor quick;
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
