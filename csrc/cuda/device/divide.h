// Division by a number that is known when the kernel is launched: a multiplication, an addition and a shift.
// Exact for dividends below 2^31.
//
// With s = ceil(log2 d) and m = floor(2^32 (2^s - d) / d) + 1, n / d = (hi32(n m) + n) >> s for every n <
// 2^32. Source: Granlund, Montgomery, "Division by invariant integers using multiplication", 1994,
// figure 4.1.
#pragma once
#include <cstdint>

#include "cuda/device/device.h"

namespace weft::cuda {

class Divisor {
 public:
  Divisor() = default;
  explicit Divisor(std::int64_t d) : d_(static_cast<std::uint32_t>(d)) {
    while (std::uint64_t{1} << shift_ < d_) ++shift_;
    multiplier_ = static_cast<std::uint32_t>((((std::uint64_t{1} << shift_) - d_) << 32) / d_ + 1);
  }
  __host__ __device__ std::uint32_t value() const { return d_; }
  // n / d, n >= 0
  __host__ __device__ int quotient(int n) const {
    const auto u = static_cast<std::uint32_t>(n);
    const auto high = static_cast<std::uint32_t>((std::uint64_t{u} * multiplier_) >> 32);
    return static_cast<int>((high + u) >> shift_);  // below 2^32: high <= n < 2^31
  }
  // n / d, and what is left in `rest`
  __host__ __device__ int divide(int n, int& rest) const {
    const int q = quotient(n);
    rest = n - q * static_cast<int>(d_);
    return q;
  }

 private:
  std::uint32_t d_ = 1, multiplier_ = 1, shift_ = 0;
};

// The same for dividends below 2^52: where some are not below 2^31, by a quotient in double, which is off by
// one at most.
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

}  // namespace weft::cuda
