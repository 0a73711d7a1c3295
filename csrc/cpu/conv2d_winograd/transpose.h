// A square of L x L numbers in L vectors, turned: r[i][j] <- r[j][i].
//
// First squares of 4 x 4 inside of the 128-bit quarters, by two rounds of interleaving neighbours, then the
// quarters themselves: each round is one instruction a vector.
#pragma once
#include "cpu/conv2d_winograd/algorithm.h"

namespace weft::cpu::WEFT_ISA {

typedef int Mask __attribute__((vector_size(vector_bytes)));

#if defined(WEFT_ISA_avx512)
#define WEFT_EACH_QUARTER(a, b, c, d) \
  Mask { a, b, c, d, a + 4, b + 4, c + 4, d + 4, a + 8, b + 8, c + 8, d + 8, a + 12, b + 12, c + 12, d + 12 }
#elif defined(WEFT_ISA_avx2)
#define WEFT_EACH_QUARTER(a, b, c, d) \
  Mask { a, b, c, d, a + 4, b + 4, c + 4, d + 4 }
#else
#define WEFT_EACH_QUARTER(a, b, c, d) \
  Mask { a, b, c, d }
#endif

[[gnu::always_inline]] inline void transpose(Vec (&r)[L]) {
#pragma GCC unroll 4
  for (int i = 0; i < L; i += 4) {
    const Vec a = __builtin_shuffle(r[i], r[i + 1], WEFT_EACH_QUARTER(0, L, 1, L + 1));
    const Vec b = __builtin_shuffle(r[i], r[i + 1], WEFT_EACH_QUARTER(2, L + 2, 3, L + 3));
    const Vec c = __builtin_shuffle(r[i + 2], r[i + 3], WEFT_EACH_QUARTER(0, L, 1, L + 1));
    const Vec d = __builtin_shuffle(r[i + 2], r[i + 3], WEFT_EACH_QUARTER(2, L + 2, 3, L + 3));
    r[i] = __builtin_shuffle(a, c, WEFT_EACH_QUARTER(0, 1, L, L + 1));
    r[i + 1] = __builtin_shuffle(a, c, WEFT_EACH_QUARTER(2, 3, L + 2, L + 3));
    r[i + 2] = __builtin_shuffle(b, d, WEFT_EACH_QUARTER(0, 1, L, L + 1));
    r[i + 3] = __builtin_shuffle(b, d, WEFT_EACH_QUARTER(2, 3, L + 2, L + 3));
  }
#if defined(WEFT_ISA_avx512)
  // Quarter q of vector 4 g + j goes to quarter g of vector 4 q + j.
  constexpr Mask even = {0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27};
  constexpr Mask odd = {4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31};
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vec a = __builtin_shuffle(r[j], r[4 + j], even), b = __builtin_shuffle(r[j], r[4 + j], odd);
    const Vec c = __builtin_shuffle(r[8 + j], r[12 + j], even),
              d = __builtin_shuffle(r[8 + j], r[12 + j], odd);
    r[j] = __builtin_shuffle(a, c, even);
    r[4 + j] = __builtin_shuffle(b, d, even);
    r[8 + j] = __builtin_shuffle(a, c, odd);
    r[12 + j] = __builtin_shuffle(b, d, odd);
  }
#elif defined(WEFT_ISA_avx2)
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vec a = r[j], b = r[4 + j];
    r[j] = __builtin_shuffle(a, b, Mask{0, 1, 2, 3, 8, 9, 10, 11});
    r[4 + j] = __builtin_shuffle(a, b, Mask{4, 5, 6, 7, 12, 13, 14, 15});
  }
#endif
}

#undef WEFT_EACH_QUARTER

[[gnu::always_inline]] inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
[[gnu::always_inline]] inline void store(float* to, Vec v) { *reinterpret_cast<Vec*>(to) = v; }
[[gnu::always_inline]] inline Vec broadcast(float x) { return x - Vec{}; }

// The first `rows` rows, `stride` apart, turned; the rest is zero.
[[gnu::always_inline]] inline void load_transposed(const float* from, std::int64_t stride, std::int64_t rows,
                                                   Vec (&r)[L]) {
  if (rows >= L) {
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) r[i] = load(from + i * stride);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) r[i] = i < rows ? load(from + i * stride) : Vec{};
  }
  transpose(r);
}

[[gnu::always_inline]] inline void store_transposed(Vec (&r)[L], float* to, std::int64_t stride,
                                                    std::int64_t rows) {
  transpose(r);
  if (rows >= L) {
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) store(to + i * stride, r[i]);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i)
      if (i < rows) store(to + i * stride, r[i]);
  }
}

}  // namespace weft::cpu::WEFT_ISA
