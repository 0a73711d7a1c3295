// A pooling window of four vectors.
#pragma once
#include "cpu/simd/vec.h"
#include "ops/conv2d_relu_max_pool2d.h"

namespace weft::cpu::WEFT_ISA {

typedef std::int32_t WindowCodes __attribute__((vector_size(vector_bytes)));

// The largest of a window's four sums and where it is, by the codes of ops/conv2d_relu_max_pool2d.h.
[[gnu::always_inline]] inline VecOf<float>::type pool_window(const VecOf<float>::type (&sums)[4],
                                                             WindowCodes& code) {
  using V = VecOf<float>::type;
  V best = sums[0];
  WindowCodes at{};
#pragma GCC unroll 3
  for (int t = 1; t < 4; ++t) {
    const V v = sums[t];
    const WindowCodes wins = (v > best) | (v != v);
    best = wins ? v : best;
    at = wins ? t - WindowCodes{} : at;
  }
  const WindowCodes cut = best <= V{};
  code = cut ? winner_cut - WindowCodes{} : at;
  return cut ? V{} : best;
}

}  // namespace weft::cpu::WEFT_ISA
