// The kernel of both gradients: R runs of a few registers that collect, over a list of live gradients, each
// times R runs from memory.
#pragma once
#include "cpu/parallel.h"
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr int lanes = lanes_of<float>;
// Short runs take half a register: AVX-512 has registers of both widths.
template <bool narrow>
struct RunVec {
  typedef float type __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
};
#if defined(WEFT_ISA_avx512)
template <>
struct RunVec<true> {
  typedef float type __attribute__((vector_size(32), aligned(4), may_alias));
};
#endif
// Accumulators: what is left of the registers is for g.
constexpr int max_sums = vector_registers == 32 ? 25 : 12;
constexpr int max_runs = 7, max_vectors = 5;

std::int64_t round_up(std::int64_t n, std::int64_t to) { return ceil_div(n, to) * to; }

// Live gradients: each a number and where the runs that it is multiplied with begin.
struct List {
  const float* gradient;
  const std::int32_t* offset;
  std::int64_t count;
};

// sums[r][v] += over the list gradient * from[offset + r from_pitch + v]: NR runs of NV vectors.
template <bool narrow, int NR, int NV>
void collect(const List& list, const float* from, std::int64_t from_pitch, float* sums,
             std::int64_t sums_pitch) {
  using V = typename RunVec<narrow>::type;
  constexpr int size = sizeof(V) / sizeof(float);
  // Few sums would wait for each other: then two gradients go side by side.
  constexpr int ways = NR * NV <= max_sums / 2 && NR * NV < 8 ? 2 : 1;
  V sum[ways][NR][NV] = {};
#pragma GCC unroll 8
  for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) sum[0][r][v] = *reinterpret_cast<const V*>(sums + r * sums_pitch + v * size);
  std::int64_t i = 0;
  for (; i + ways <= list.count; i += ways)
#pragma GCC unroll 2
    for (int w = 0; w < ways; ++w) {
      const V g = list.gradient[i + w] - V{};
      const float* run = from + list.offset[i + w];
#pragma GCC unroll 8
      for (int r = 0; r < NR; ++r, run += from_pitch)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) sum[w][r][v] += g * *reinterpret_cast<const V*>(run + v * size);
    }
  if constexpr (ways == 2) {
    if (i < list.count) {
      const float* run = from + list.offset[i];
#pragma GCC unroll 8
      for (int r = 0; r < NR; ++r, run += from_pitch)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v)
          sum[0][r][v] += list.gradient[i] * *reinterpret_cast<const V*>(run + v * size);
    }
#pragma GCC unroll 8
    for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) sum[0][r][v] += sum[1][r][v];
  }
#pragma GCC unroll 8
  for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) *reinterpret_cast<V*>(sums + r * sums_pitch + v * size) = sum[0][r][v];
}

// The same for two lists, the second of which is for the runs one further down: NR + 1 runs in all.
template <bool narrow, int NR, int NV>
void collect_pair(const List& upper, const List& lower, const float* from, std::int64_t from_pitch,
                  float* sums, std::int64_t sums_pitch) {
  using V = typename RunVec<narrow>::type;
  constexpr int size = sizeof(V) / sizeof(float);
  V sum[NR + 1][NV];
  float* to = sums;
#pragma GCC unroll 8
  for (int r = 0; r <= NR; ++r, to += sums_pitch)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) sum[r][v] = *reinterpret_cast<const V*>(to + v * size);
  for (std::int64_t i = 0; i < upper.count; ++i) {
    const V g = upper.gradient[i] - V{};
    const float* run = from + upper.offset[i];
#pragma GCC unroll 8
    for (int r = 0; r < NR; ++r, run += from_pitch)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) sum[r][v] += g * *reinterpret_cast<const V*>(run + v * size);
  }
  for (std::int64_t i = 0; i < lower.count; ++i) {
    const V g = lower.gradient[i] - V{};
    const float* run = from + lower.offset[i];
#pragma GCC unroll 8
    for (int r = 0; r < NR; ++r, run += from_pitch)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) sum[r + 1][v] += g * *reinterpret_cast<const V*>(run + v * size);
  }
  to = sums;
#pragma GCC unroll 8
  for (int r = 0; r <= NR; ++r, to += sums_pitch)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) *reinterpret_cast<V*>(to + v * size) = sum[r][v];
}

using Collect = void (*)(const List&, const float*, std::int64_t, float*, std::int64_t);
template <bool narrow, int NR, int NV>
constexpr Collect collect_or_null() {
  if constexpr (NR * NV <= max_sums)
    return collect<narrow, NR, NV>;
  else
    return nullptr;
}
using CollectPair = void (*)(const List&, const List&, const float*, std::int64_t, float*, std::int64_t);
template <bool narrow, int NR, int NV>
constexpr CollectPair pair_or_null() {
  if constexpr ((NR + 1) * NV <= max_sums)
    return collect_pair<narrow, NR, NV>;
  else
    return nullptr;
}
template <bool narrow>
struct Table {
#define WEFT_ROW(f, NR)                                                                               \
  {nullptr,           f<narrow, NR, 1>(), f<narrow, NR, 2>(), f<narrow, NR, 3>(), f<narrow, NR, 4>(), \
   f<narrow, NR, 5>()}
#define WEFT_ROWS(f) \
  {{},               \
   WEFT_ROW(f, 1),   \
   WEFT_ROW(f, 2),   \
   WEFT_ROW(f, 3),   \
   WEFT_ROW(f, 4),   \
   WEFT_ROW(f, 5),   \
   WEFT_ROW(f, 6),   \
   WEFT_ROW(f, 7)}
  static constexpr Collect one[max_runs + 1][max_vectors + 1] = WEFT_ROWS(collect_or_null);
  static constexpr CollectPair pair[max_runs + 1][max_vectors + 1] = WEFT_ROWS(pair_or_null);
#undef WEFT_ROWS
#undef WEFT_ROW
};

// How R runs of a length are cut into blocks that the registers hold.
struct Runs {
  Runs(std::int64_t R, std::int64_t length) : R(R) {
    narrow = vector_bytes == 64 && length <= 8;
    size = narrow ? 8 : lanes;
    vectors = ceil_div(length, size);
    // Blocks of nearly equal width, and then as many runs as fit.
    const std::int64_t cuts = ceil_div(vectors, max_vectors);
    block_vectors = ceil_div(vectors, cuts);
    block_runs = min_of<std::int64_t>(max_runs, max_sums / block_vectors);
    block_runs = ceil_div(R, ceil_div(R, block_runs));
  }
  std::int64_t length() const { return vectors * size; }  // of a run, with its padding

  void collect(const List& list, const float* from, std::int64_t from_pitch, float* sums,
               std::int64_t sums_pitch) const {
    for (std::int64_t r = 0; r < R; r += block_runs)
      for (std::int64_t v = 0; v < vectors; v += block_vectors) {
        const std::int64_t nr = min_of(block_runs, R - r), nv = min_of(block_vectors, vectors - v);
        const Collect f = narrow ? Table<true>::one[nr][nv] : Table<false>::one[nr][nv];
        f(list, from + r * from_pitch + v * size, from_pitch, sums + r * sums_pitch + v * size, sums_pitch);
      }
  }

  // The lower list is for the runs one further down.
  void collect_pair(const List& upper, const List& lower, const float* from, std::int64_t from_pitch,
                    float* sums, std::int64_t sums_pitch) const {
    const bool whole = R <= max_runs && vectors <= max_vectors;
    const CollectPair f = !whole   ? nullptr
                          : narrow ? Table<true>::pair[R][vectors]
                                   : Table<false>::pair[R][vectors];
    if (f) return f(upper, lower, from, from_pitch, sums, sums_pitch);
    collect(upper, from, from_pitch, sums, sums_pitch);
    collect(lower, from, from_pitch, sums + sums_pitch, sums_pitch);
  }

  std::int64_t R, size, vectors, block_vectors, block_runs;
  bool narrow;
};

}  // namespace

}  // namespace weft::cpu::WEFT_ISA
