// How a product of bfloat16 matrices reads its operands: as vectors of 32-bit words, in panels
// word[step][lane].
//
//   with the dot instruction   a word is two neighbours along K, a step covers two products; vdpbf16ps
//                              multiplies the pairs and adds both to a float: a[2s] b[2s] + a[2s+1] b[2s+1]
//   without it                 a word is one number, widened to float; a step is one product
//
// Either way the sum of an element is in float and runs over K in order. Beyond the end, words are zeros. In
// both, denormals count as zero: vdpbf16ps always does so, and a product flushes them anyway (denormals.h).
#pragma once
#include "core/bfloat16.h"
#include "cpu/gemm/tile.h"
#include "cpu/parallel.h"
#include "cpu/simd/lanes.h"

namespace weft::cpu::WEFT_ISA {

#if defined(WEFT_ISA_avx512bf16)
constexpr int step_depth = 2;
#else
constexpr int step_depth = 1;
#endif

constexpr int word_lanes = lanes_of<float>;
using WordVec = Tile<float>::Vec;  // of float, whatever the bits mean
typedef std::uint32_t WordBits __attribute__((vector_size(vector_bytes)));
typedef std::uint16_t Halves __attribute__((vector_size(vector_bytes / 2), aligned(2), may_alias));

[[gnu::always_inline]] inline WordBits bits_of(WordVec v) { return reinterpret_cast<WordBits>(v); }
[[gnu::always_inline]] inline WordVec words_of(WordBits v) { return reinterpret_cast<WordVec>(v); }

// The first `count` of a vector's worth of numbers; 0 for the others, and nothing behind them is read.
[[gnu::always_inline]] inline WordBits load_halves(const BFloat16* from, std::int64_t count) {
  if (count >= word_lanes) return __builtin_convertvector(*reinterpret_cast<const Halves*>(from), WordBits);
#if defined(WEFT_ISA_avx512)
  typedef short Shorts __attribute__((vector_size(32)));
  const auto mask = static_cast<unsigned short>((1u << max_of<std::int64_t>(count, 0)) - 1);
  const Shorts some = __builtin_ia32_loaddquhi256_mask(reinterpret_cast<const short*>(from), Shorts{}, mask);
  return __builtin_convertvector(reinterpret_cast<Halves>(some), WordBits);
#else
  WordBits some = {};
  for (std::int64_t i = 0; i < count; ++i) some[i] = from[i].bits;
  return some;
#endif
}

[[gnu::always_inline]] inline WordVec load_wide(const BFloat16* from, std::int64_t count) {
  return words_of(load_halves(from, count) << 16);
}

// A vector of words along K, of which `count` numbers exist, side by side.
[[gnu::always_inline]] inline WordVec load_along(const BFloat16* from, std::int64_t count) {
#if defined(WEFT_ISA_avx512bf16)
  typedef float Pairs __attribute__((vector_size(64), aligned(2), may_alias));
  if (count >= 2 * word_lanes) return *reinterpret_cast<const Pairs*>(from);
  typedef short Shorts __attribute__((vector_size(64)));
  const unsigned mask = (1u << max_of<std::int64_t>(count, 0)) - 1;
  return reinterpret_cast<WordVec>(
      __builtin_ia32_loaddquhi512_mask(reinterpret_cast<const short*>(from), Shorts{}, mask));
#else
  return load_wide(from, count);
#endif
}

// A vector of words across K: the step at `from`, whose second number, if there is one, lies k_stride behind
// it; `lanes` of them exist.
[[gnu::always_inline]] inline WordVec load_across(const BFloat16* from, std::int64_t k_stride,
                                                  std::int64_t lanes, bool second) {
#if defined(WEFT_ISA_avx512bf16)
  WordBits words = load_halves(from, lanes);
  if (second) words |= load_halves(from + k_stride, lanes) << 16;
  return words_of(words);
#else
  (void)k_stride, (void)second;
  return load_wide(from, lanes);
#endif
}

[[gnu::always_inline]] inline float word_at(const BFloat16* from, std::int64_t k_stride, bool second) {
#if defined(WEFT_ISA_avx512bf16)
  const std::uint32_t high = second ? from[k_stride].bits : 0;
  return __builtin_bit_cast(float, high << 16 | from->bits);
#else
  (void)k_stride, (void)second;
  return *from;
#endif
}

// sum += u v, lane by lane.
[[gnu::always_inline]] inline void add_words(WordVec& sum, WordVec u, WordVec v) {
#if defined(WEFT_ISA_avx512bf16)
  asm("vdpbf16ps %[v], %[u], %[s]" : [s] "+v"(sum) : [u] "v"(u), [v] "v"(v));
#else
  sum += u * v;
#endif
}

// A word of an operand that is read where it lies.
typedef float AnyWord __attribute__((aligned(2), may_alias));

// sum[j] += *a v[j].
template <int NV>
[[gnu::always_inline]] inline void add_word(WordVec (&sum)[NV], const AnyWord* a, const WordVec (&v)[NV]) {
#if defined(WEFT_ISA_avx512bf16)
  static_assert(NV == 1 || NV == 2);
  WordVec broadcast;
  if constexpr (NV == 2)
    asm("vbroadcastss %[a], %[t]\n\tvdpbf16ps %[v0], %[t], %[s0]\n\tvdpbf16ps %[v1], %[t], %[s1]"
        : [t] "=&v"(broadcast), [s0] "+v"(sum[0]), [s1] "+v"(sum[1])
        : [a] "m"(*a), [v0] "v"(v[0]), [v1] "v"(v[1]));
  else
    asm("vbroadcastss %[a], %[t]\n\tvdpbf16ps %[v0], %[t], %[s0]"
        : [t] "=&v"(broadcast), [s0] "+v"(sum[0])
        : [a] "m"(*a), [v0] "v"(v[0]));
#else
  add_row<float, NV>(sum, reinterpret_cast<const float*>(a), v);
#endif
}

// to[step][0..size] where the numbers of a lane lie side by side along K: squares of words are turned in
// registers. Whole vectors are stored even where `size` is no multiple of them: the next step's overwrite
// what lies too far, so only the last is cut.
inline void pack_words_turned(float* to, std::int64_t size, const BFloat16* from, std::int64_t lanes,
                              std::int64_t lane_stride, std::int64_t k) {
  constexpr int L = word_lanes, ahead = 256;  // numbers: each row is a stream of its own
  const std::int64_t steps = ceil_div(k, step_depth);
  for (std::int64_t first = (size - 1) / L * L; first >= 0; first -= L)
    for (std::int64_t step = 0; step < steps; step += L) {
      const std::int64_t count = min_of<std::int64_t>(L, steps - step), k0 = step * step_depth;
      WordVec r[L];
#pragma GCC unroll 16
      for (int l = 0; l < L; ++l) {
        const BFloat16* row = from + (first + l) * lane_stride + k0;
        r[l] = first + l < lanes ? load_along(row, k - k0) : WordVec{};
        if (first + l < lanes) __builtin_prefetch(row + ahead);
      }
      transpose<float>(r);
      float* out = to + step * size + first;
      if (count == L) {
#pragma GCC unroll 16
        for (int l = 0; l < L - 1; ++l) *reinterpret_cast<WordVec*>(out + l * size) = r[l];
      } else {
        for (int l = 0; l + 1 < count; ++l) *reinterpret_cast<WordVec*>(out + l * size) = r[l];
      }
      store_some<float>(out + (count - 1) * size, r[count - 1], min_of<std::int64_t>(L, size - first));
    }
}

// to[step][lane] for `lanes` lanes of `size`: lane l's k-th number is from[l * lane_stride + k * k_stride].
inline void pack_words(float* to, std::int64_t size, const BFloat16* from, std::int64_t lanes,
                       std::int64_t lane_stride, std::int64_t k, std::int64_t k_stride) {
  constexpr int L = word_lanes;
  if (k_stride == 1 && lane_stride != 1) return pack_words_turned(to, size, from, lanes, lane_stride, k);
  for (std::int64_t k0 = 0; k0 < k; k0 += step_depth, to += size) {
    const BFloat16* row = from + k0 * k_stride;
    const bool second = k0 + 1 < k, last = k0 + step_depth >= k;
    if (lane_stride != 1) {
      for (std::int64_t lane = 0; lane < size; ++lane)
        to[lane] = lane < lanes ? word_at(row + lane * lane_stride, k_stride, second) : 0.0f;
      continue;
    }
    for (std::int64_t lane = 0; lane < size; lane += L) {
      const WordVec words = load_across(row + lane, k_stride, lanes - lane, second);
      if (last && size - lane < L)
        store_some<float>(to + lane, words, size - lane);
      else
        *reinterpret_cast<WordVec*>(to + lane) = words;
    }
  }
}

}  // namespace weft::cpu::WEFT_ISA
