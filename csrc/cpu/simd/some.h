// The beginning of a vector, where an array ends within it.
#pragma once
#include <cstdint>

#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

// The first `count` numbers from `from`, at most a vector of them; 0 for the others.
[[gnu::always_inline]] inline VecOf<float>::type load_some(const float* from, std::int64_t count) {
  using V = VecOf<float>::type;
  if (count >= lanes_of<float>) return *reinterpret_cast<const V*>(from);
#if defined(WEFT_ISA_avx512)
  return __builtin_ia32_loadups512_mask(from, V{}, static_cast<unsigned short>((1u << count) - 1));
#else
  float some[lanes_of<float>] = {};
  for (std::int64_t i = 0; i < count; ++i) some[i] = from[i];
  return *reinterpret_cast<const V*>(some);
#endif
}

}  // namespace weft::cpu::WEFT_ISA
