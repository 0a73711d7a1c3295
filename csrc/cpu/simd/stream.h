// Stores that go past the cache. A store to a line that is not in the cache first reads the line from memory;
// an array that is larger than the cache anyway is written without that, a third less traffic for out = f(x).
// Values are made in a block in the first-level cache and leave it in whole lines.
#pragma once
#include <cstdint>

#include "cpu/parallel.h"
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

// Whether a kernel that reads and writes so many bytes leaves nothing useful in the cache: its traffic is
// about twice the last-level cache of the processors that this was measured on. Below, what is written is
// worth keeping there for whoever reads it next.
[[gnu::always_inline]] inline bool passes_cache(std::int64_t bytes) {
  return bytes >= std::int64_t{60} << 20;
}

// The same for a kernel whose result is a whole vector at a time; bytes: of the arrays that are in use until
// the next operation has read the result. Measured with that operation: past the cache, 20 MB take a sixth
// longer and 26 MB a tenth less.
[[gnu::always_inline]] inline bool leaves_cache(std::int64_t bytes) {
  return bytes >= std::int64_t{24} << 20;
}

// Whether a vector is a whole cache line: a part of one costs more past the cache than in it.
constexpr bool stores_lines = vector_bytes == 64;

// to[i] = from[i]; `to` at a multiple of 64 bytes. After the last call, and before another thread may read
// what was written: stream_end().
[[gnu::always_inline]] inline void stream_out(float* to, const float* from, std::int64_t n) {
  std::int64_t i = 0;
#if defined(__SSE2__)
  for (; i + 16 <= n; i += 16) {
#if defined(WEFT_ISA_avx512)
    typedef float Whole __attribute__((vector_size(64), aligned(4), may_alias));
    __builtin_ia32_movntps512(to + i, *reinterpret_cast<const Whole*>(from + i));
#elif defined(WEFT_ISA_avx2)
    typedef float Half __attribute__((vector_size(32), aligned(4), may_alias));
    for (int k = 0; k < 16; k += 8)
      __builtin_ia32_movntps256(to + i + k, *reinterpret_cast<const Half*>(from + i + k));
#else
    typedef float Quarter __attribute__((vector_size(16), aligned(4), may_alias));
    for (int k = 0; k < 16; k += 4)
      __builtin_ia32_movntps(to + i + k, *reinterpret_cast<const Quarter*>(from + i + k));
#endif
  }
#endif
  for (; i < n; ++i) to[i] = from[i];
}

// *to = v, of a whole vector; `to` at a multiple of its size. Then as after stream_out.
[[gnu::always_inline]] inline void stream_vector(float* to, VecOf<float>::type v) {
#if defined(WEFT_ISA_avx512)
  __builtin_ia32_movntps512(to, v);
#elif defined(WEFT_ISA_avx2)
  __builtin_ia32_movntps256(to, v);
#elif defined(__SSE2__)
  __builtin_ia32_movntps(to, v);
#else
  *reinterpret_cast<VecOf<float>::type*>(to) = v;
#endif
}

// *to = v, past the cache where a vector is a whole line of it.
[[gnu::always_inline]] inline void stream_line(float* to, VecOf<float>::type v) {
  if constexpr (stores_lines)
    stream_vector(to, v);
  else
    *reinterpret_cast<VecOf<float>::type*>(to) = v;
}

[[gnu::always_inline]] inline void stream_end() {
#if defined(__SSE2__)
  __builtin_ia32_sfence();
#endif
}

[[gnu::always_inline]] inline bool is_line(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 64 == 0;
}

}  // namespace weft::cpu::WEFT_ISA
