// Philox4x32-10: a counter-based random number generator. Four 32-bit words from a 64-bit key (the seed)
// and a 128-bit counter, by ten rounds of two multiplications each. Word i of a stream needs no word
// before it, so that any number of threads, or a GPU, writes the same bits.
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once
#include <cstdint>

#include "core/host_device.h"

namespace weft {

struct Words4 {
  std::uint32_t v[4];
};

// counter = block (low 64 bits) and 0 (high 64 bits).
[[gnu::always_inline]] WEFT_HOST_DEVICE inline Words4 philox4x32_10(std::uint64_t seed, std::uint64_t block) {
  std::uint32_t c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
  std::uint32_t c2 = 0, c3 = 0;
  std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9;  // the golden ratio
    k1 += 0xBB67AE85;  // sqrt(3) - 1
  }
  return {{c0, c1, c2, c3}};
}

// A word as a number in [0, 1): 24 bits for float32, 32 for float64.
[[gnu::always_inline]] WEFT_HOST_DEVICE inline float to_unit_float(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}
[[gnu::always_inline]] WEFT_HOST_DEVICE inline double to_unit_double(std::uint32_t word) {
  return static_cast<double>(word) * 0x1p-32;
}

}  // namespace weft
