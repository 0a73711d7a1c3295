// Product of bfloat16 matrices, summed in float; see ops/gemm.h. C is bfloat16 or float: alpha, beta C, bias
// and activation are computed in float, and rounded once.
//
// The methods are those of the float product, on words (gemm/words.h) in place of floats:
//
//   dots     few rows, A and B with their steps of K side by side (B = W^T): nothing is packed
//   panels   A within a few MiB: each panel of B is packed just before all of A passes by it; A is read where
//            it lies if its words are there, else packed once
//   packed   large: A and B are packed, a slice of K at a time, and multiplied in blocks for the caches
//
// Sums wait in float between slices of K.
//
// Slices depend on K alone, so the bits depend neither on the threads nor on the cut of C.
#include "cpu/gemm/bfloat16.h"

#include "cpu/gemm/problem.h"
#include "cpu/gemm/words.h"
#include "cpu/kernels.h"
#include "cpu/scratch.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t MR = Tile<float>::MR, NR = Tile<float>::NR, L = word_lanes;

struct HalfProblem {
  std::int64_t M, N, K;
  const BFloat16* a;
  std::int64_t a_row, a_column;
  const BFloat16* b;
  std::int64_t b_row, b_column;
  void* c;  // bfloat16, or float where `wide`
  std::int64_t c_row;
  bool wide;
  float alpha, beta;
  const BFloat16* bias;  // may be null
  BiasAxis axis;
  Activation activation;
  double activation_alpha;
  Stream* stream;
};

// --- the end of a tile ---

// To the nearest, ties to even; NaN stays NaN.
[[gnu::always_inline]] inline Halves narrow(WordVec v) {
#if defined(WEFT_ISA_avx512bf16)
  Halves halves;  // takes denormals for zero; there are none
  asm("vcvtneps2bf16 %[v], %[h]" : [h] "=v"(halves) : [v] "v"(v));
  return halves;
#else
  const WordBits u = bits_of(v);
  const WordBits nearest = (u + 0x7fff + (u >> 16 & 1)) >> 16, quiet = u >> 16 | 0x40;
  const WordBits nan = reinterpret_cast<WordBits>((u & 0x7fffffff) > 0x7f800000);
  return __builtin_convertvector((nan & quiet) | (~nan & nearest), Halves);
#endif
}

[[gnu::always_inline]] inline WordVec load_c(const HalfProblem& g, std::int64_t at, std::int64_t count) {
  if (!g.wide) return load_wide(static_cast<const BFloat16*>(g.c) + at, count);
  const float* c = static_cast<const float*>(g.c) + at;
  return count >= L ? *reinterpret_cast<const WordVec*>(c) : load_some<float>(c, count);
}

[[gnu::always_inline]] inline void store_c(const HalfProblem& g, WordVec v, std::int64_t at,
                                           std::int64_t count) {
  if (g.wide) {
    float* c = static_cast<float*>(g.c) + at;
    if (count >= L)
      *reinterpret_cast<WordVec*>(c) = v;
    else
      store_some<float>(c, v, count);
    return;
  }
  BFloat16* c = static_cast<BFloat16*>(g.c) + at;
  const Halves halves = narrow(v);
  if (count >= L)
    *reinterpret_cast<Halves*>(c) = halves;
  else
    for (std::int64_t l = 0; l < count; ++l) c[l].bits = halves[l];
}

// alpha v + beta C + bias, and relu, for a vector at (m, n) of which `count` columns exist.
[[gnu::always_inline]] inline WordVec end_of(const HalfProblem& g, WordVec v, std::int64_t m, std::int64_t n,
                                             std::int64_t count) {
  if (g.alpha != 1) v *= g.alpha;
  if (g.beta != 0) v += g.beta * load_c(g, m * g.c_row + n, count);
  if (g.axis == BiasAxis::row) v += static_cast<float>(g.bias[m]);
  if (g.axis == BiasAxis::column) v += load_wide(g.bias + n, count);
  if (g.activation == Activation::relu) v = v <= 0 ? WordVec{} : v;
  return v;
}

// The usual case: the sums themselves, whole vectors of them, as bfloat16.
[[gnu::always_inline]] inline bool finish_plain(const HalfProblem& g, const float* sums, std::int64_t step,
                                                std::int64_t m, std::int64_t n, int rows,
                                                std::int64_t columns) {
  const bool plain = g.alpha == 1 && g.beta == 0 && g.axis == BiasAxis::none && !g.wide;
  if (!plain || g.activation != Activation::none || columns % L != 0) return false;
  BFloat16* c = static_cast<BFloat16*>(g.c) + m * g.c_row + n;
  for (int i = 0; i < rows; ++i, sums += step, c += g.c_row)
    for (std::int64_t j = 0; j < columns; j += L)
      *reinterpret_cast<Halves*>(c + j) = narrow(*reinterpret_cast<const WordVec*>(sums + j));
  return true;
}

// The tile at (m, n), `step` numbers a row in `sums`, into C.
void finish(const HalfProblem& g, float* sums, std::int64_t step, std::int64_t m, std::int64_t n, int rows,
            std::int64_t columns) {
  if (finish_plain(g, sums, step, m, n, rows, columns)) return;
  const bool function = g.activation != Activation::none && g.activation != Activation::relu;
  for (int i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; j += L) {
      auto& sum = *reinterpret_cast<WordVec*>(sums + i * step + j);
      const WordVec v = end_of(g, sum, m + i, n + j, columns - j);
      if (function)
        sum = v;
      else
        store_c(g, v, (m + i) * g.c_row + n + j, columns - j);
    }
  if (!function) return;
  activation_forward(
      *g.stream, {g.activation, DType::float32, (rows - 1) * step + columns, sums, sums, g.activation_alpha});
  for (int i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; j += L)
      store_c(g, *reinterpret_cast<const WordVec*>(sums + i * step + j), (m + i) * g.c_row + n + j,
              columns - j);
}

// --- the tile ---

// A's rows as a tile reads them, in bytes from word to word: packed, or where they lie.
struct Rows {
  const char* data;
  std::int64_t row, step;
};
constexpr std::int64_t packed_row = sizeof(float), packed_step = MR * sizeof(float);

// sum[i][j] over the steps of a and packed b, stored one row after the other.
template <int rows, int NV, bool packed>
void multiply_words(std::int64_t steps, Rows a, const float* b, float* result) {
  constexpr int bases = (rows + 2) / 3;
  WordVec sum[rows][NV] = {};
  const std::int64_t row = packed ? packed_row : a.row, row2 = 2 * row, step = packed ? packed_step : a.step;
  // Three rows share a pointer, so that the pointers fit the registers.
  const char* base[bases];
#pragma GCC unroll 4
  for (int i = 0; i < bases; ++i) base[i] = a.data + 3 * i * row;
  for (; steps > 0; --steps, b += NV * L) {
    WordVec v[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) v[j] = *reinterpret_cast<const WordVec*>(b + j * L);
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i) {
      const char* at = packed ? base[0] + i * packed_row
                              : base[i / 3] + (i % 3 == 0   ? 0
                                               : i % 3 == 1 ? row
                                                            : row2);
      add_word<NV>(sum[i], reinterpret_cast<const AnyWord*>(at), v);
    }
#pragma GCC unroll 4
    for (int i = 0; i < (packed ? 1 : bases); ++i) {
      base[i] += step;
      asm("" : "+r"(base[i]));  // keeps the compiler from making a pointer of each row
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) *reinterpret_cast<WordVec*>(result + (i * NV + j) * L) = sum[i][j];
}

using MultiplyWords = void (*)(std::int64_t, Rows, const float*, float*);

template <int NV, bool packed>
[[gnu::always_inline]] inline MultiplyWords words_for(int rows) {
  if constexpr (MR == 12) {
    static constexpr MultiplyWords all[] = {
        multiply_words<1, NV, packed>,  multiply_words<2, NV, packed>,  multiply_words<3, NV, packed>,
        multiply_words<4, NV, packed>,  multiply_words<5, NV, packed>,  multiply_words<6, NV, packed>,
        multiply_words<7, NV, packed>,  multiply_words<8, NV, packed>,  multiply_words<9, NV, packed>,
        multiply_words<10, NV, packed>, multiply_words<11, NV, packed>, multiply_words<12, NV, packed>};
    return all[rows - 1];
  } else {
    static constexpr MultiplyWords all[] = {multiply_words<1, NV, packed>, multiply_words<2, NV, packed>,
                                            multiply_words<3, NV, packed>, multiply_words<4, NV, packed>,
                                            multiply_words<5, NV, packed>, multiply_words<6, NV, packed>};
    return all[rows - 1];
  }
}

// Sums between slices of K: whole tiles, so that their edges need no care. Null where there is one slice.
struct Partial {
  float* data;
  std::int64_t row;
  Partial at(std::int64_t offset) const { return {data ? data + offset : nullptr, row}; }
};

// The tile at (m, n): `steps` of its panels, and its end.
template <bool packed>
[[gnu::always_inline]] inline void word_tile(const HalfProblem& g, std::int64_t steps, Rows a, const float* b,
                                             std::int64_t m, std::int64_t n, int rows, std::int64_t columns,
                                             Stage stage, Partial partial) {
  alignas(64) float sums[MR * NR];
  const std::int64_t step = columns > L ? NR : L;
  (columns > L ? words_for<2, packed>(rows) : words_for<1, packed>(rows))(steps, a, b, sums);
  if (!stage.first || !stage.last) {
    for (int i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < step; j += L) {
        auto& sum = *reinterpret_cast<WordVec*>(sums + i * step + j);
        auto& kept = *reinterpret_cast<WordVec*>(partial.data + i * partial.row + j);
        if (!stage.first) sum += kept;
        if (!stage.last) kept = sum;
      }
  }
  if (stage.last) finish(g, sums, step, m, n, rows, columns);
}

// The rows of C in tiles of even height, MR at most: a low tile would wait for its own sums.
struct RowTiles {
  explicit RowTiles(std::int64_t M) : rows(M), count(ceil_div(M, MR)) {}
  std::int64_t begin(std::int64_t i) const { return rows * i / count; }
  int height(std::int64_t i) const { return static_cast<int>(begin(i + 1) - begin(i)); }
  std::int64_t rows, count;
};

// A panel's lanes are MR, whatever the tile's height.
[[gnu::always_inline]] inline void pack_rows(const HalfProblem& g, float* to, const RowTiles& tiles,
                                             std::int64_t i, std::int64_t k0, std::int64_t k) {
  const BFloat16* from = g.a + tiles.begin(i) * g.a_row + k0 * g.a_column;
  pack_words(to, MR, from, tiles.height(i), g.a_row, k, g.a_column);
}

// A narrow panel at the end has one vector a step.
[[gnu::always_inline]] inline void pack_columns(const HalfProblem& g, float* to, std::int64_t n,
                                                std::int64_t k0, std::int64_t k) {
  const std::int64_t columns = min_of(NR, g.N - n);
  pack_words(to, columns > L ? NR : L, g.b + n * g.b_column + k0 * g.b_row, columns, g.b_column, k, g.b_row);
}

// --- methods ---

constexpr std::int64_t longest_slice = 512 * step_depth;    // a panel of A: 24 KiB, of B: 64
constexpr std::int64_t block_rows = 30, block_columns = 4;  // panels of A: 720 KiB, of B: 256 KiB
constexpr std::int64_t most_panels = 5 << 18;               // numbers of A that pass by for each panel of B
constexpr std::int64_t strip_columns = 6144;                // columns of C at a time: bounds the memory for B

[[gnu::always_inline]] inline Rows packed_rows(const float* a) {
  return {reinterpret_cast<const char*>(a), packed_row, packed_step};
}

// Asks for what a tile's end is going to write.
[[gnu::always_inline]] inline void fetch_target(const HalfProblem& g, std::int64_t m, std::int64_t n,
                                                int rows, Stage stage, Partial partial) {
  if (!stage.first || !stage.last)
    for (int i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < NR; j += 16) __builtin_prefetch(partial.data + i * partial.row + j, 1);
  if (!stage.last) return;
  const std::int64_t size = g.wide ? 4 : 2;
  const char* c = static_cast<const char*>(g.c) + (m * g.c_row + n) * size;
  for (int i = 0; i < rows; ++i, c += g.c_row * size) {
    __builtin_prefetch(c, 1);
    __builtin_prefetch(c + NR * size - 1, 1);
  }
}

// Row tiles i0..i1 of packed a with column panels j0..j1 of packed b; n0: the strip's first column.
void multiply_blocks(const HalfProblem& g, const RowTiles& tiles, const float* a, const float* b,
                     std::int64_t steps, std::int64_t n0, std::int64_t i0, std::int64_t i1, std::int64_t j0,
                     std::int64_t j1, Stage stage, Partial partial) {
  for (std::int64_t block = i0; block < i1; block += block_rows)
    for (std::int64_t group = j0; group < j1; group += block_columns)
      for (std::int64_t i = block; i < min_of(i1, block + block_rows); ++i)
        for (std::int64_t j = group; j < min_of(j1, group + block_columns); ++j) {
          const std::int64_t m = tiles.begin(i), n = n0 + j * NR;
          const Partial kept = partial.at(i * MR * partial.row + j * NR);
          fetch_target(g, m, n, tiles.height(i), stage, kept);
          word_tile<true>(g, steps, packed_rows(a + i * MR * steps), b + j * NR * steps, m, n,
                          tiles.height(i), min_of(NR, g.N - n), stage, kept);
        }
}

void multiply_packed(const HalfProblem& g) {
  const Slices slices(g.K, longest_slice);
  const RowTiles tiles(g.M);
  const std::int64_t most_steps = ceil_div(slices.length, step_depth), strip = min_of(g.N, strip_columns);
  const std::int64_t wide = ceil_div(strip, NR) * NR, threads = threads_for(g.M * g.N * g.K);
  const Scratch<float> a(tiles.count * MR * most_steps), b(wide * most_steps);
  const Scratch<float> sums(slices.count > 1 ? tiles.count * MR * wide : 0);
  for (std::int64_t n0 = 0; n0 < g.N; n0 += strip) {
    const std::int64_t panels = ceil_div(min_of(strip, g.N - n0), NR);
    const Grid grid(tiles.count, panels, threads);
    for (std::int64_t s = 0; s < slices.count; ++s) {
      const std::int64_t k0 = s * slices.length, k = min_of(slices.length, g.K - k0);
      const std::int64_t steps = ceil_div(k, step_depth);
      parallel_tasks(tiles.count + panels, threads * 16384, [&](std::int64_t i) {
        const std::int64_t j = i - tiles.count;
        if (j < 0)
          pack_rows(g, a.data() + i * MR * steps, tiles, i, k0, k);
        else
          pack_columns(g, b.data() + j * NR * steps, n0 + j * NR, k0, k);
      });
      parallel_tasks(grid.count(), threads * 16384, [&](std::int64_t piece) {
        const std::int64_t i = piece / grid.n, j = piece % grid.n;
        multiply_blocks(g, tiles, a.data(), b.data(), steps, n0, tiles.count * i / grid.m,
                        tiles.count * (i + 1) / grid.m, panels * j / grid.n, panels * (j + 1) / grid.n,
                        {s == 0, s + 1 == slices.count}, {slices.count > 1 ? sums.data() : nullptr, wide});
      });
    }
  }
}

// Whether A's words can be read where they lie: pairs along K side by side, and a whole number of them.
[[gnu::always_inline]] inline bool in_place(const HalfProblem& g) {
  return step_depth == 2 && g.a_column == 1 && g.K % 2 == 0 && g.K <= longest_slice;
}

// Row tiles i0..i1 of the panel of B at column n, all slices of K. `a`: the packed rows of all slices, one
// slice after the other, or null.
void multiply_panel(const HalfProblem& g, const RowTiles& tiles, const float* a, std::int64_t i0,
                    std::int64_t i1, std::int64_t n, const Slices& slices, float* b, Partial partial) {
  const std::int64_t columns = min_of(NR, g.N - n);
  for (std::int64_t s = 0; s < slices.count; ++s) {
    const std::int64_t k0 = s * slices.length, k = min_of(slices.length, g.K - k0);
    const std::int64_t steps = ceil_div(k, step_depth);
    const float* slice = a ? a + tiles.count * MR * ceil_div(k0, step_depth) : nullptr;
    const Stage stage{s == 0, s + 1 == slices.count};
    pack_columns(g, b, n, k0, k);
    for (std::int64_t i = i0; i < i1; ++i) {
      const std::int64_t m = tiles.begin(i);
      const Partial kept = partial.at((i - i0) * MR * NR);
      if (a)
        word_tile<true>(g, steps, packed_rows(slice + i * MR * steps), b, m, n, tiles.height(i), columns,
                        stage, kept);
      else
        word_tile<false>(g, steps, {reinterpret_cast<const char*>(g.a + m * g.a_row), 2 * g.a_row, 4}, b, m,
                         n, tiles.height(i), columns, stage, kept);
    }
  }
}

void multiply_panels(const HalfProblem& g) {
  const Slices slices(g.K, longest_slice);
  const RowTiles tiles(g.M);
  const std::int64_t panels = ceil_div(g.N, NR), threads = threads_for(g.M * g.N * g.K);
  const bool packs = !in_place(g);
  const Scratch<float> a(packs ? tiles.count * MR * ceil_div(g.K, step_depth) : 0);
  if (packs)
    parallel_tasks(tiles.count * slices.count, g.M * g.K, [&](std::int64_t task) {
      const std::int64_t i = task % tiles.count, k0 = task / tiles.count * slices.length;
      const std::int64_t k = min_of(slices.length, g.K - k0), before = ceil_div(k0, step_depth);
      pack_rows(g, a.data() + MR * (tiles.count * before + i * ceil_div(k, step_depth)), tiles, i, k0, k);
    });
  const Grid grid(tiles.count, panels, threads);
  parallel_tasks(grid.count(), threads * 16384, [&](std::int64_t piece) {
    const std::int64_t i = piece / grid.n, j = piece % grid.n;
    const std::int64_t i0 = tiles.count * i / grid.m, i1 = tiles.count * (i + 1) / grid.m;
    const Scratch<float> b(NR * ceil_div(min_of(slices.length, g.K), step_depth));
    const Scratch<float> partial(slices.count > 1 ? (i1 - i0) * MR * NR : 0);
    for (std::int64_t panel = panels * j / grid.n; panel < panels * (j + 1) / grid.n; ++panel)
      multiply_panel(g, tiles, packs ? a.data() : nullptr, i0, i1, panel * NR, slices, b.data(),
                     {slices.count > 1 ? partial.data() : nullptr, NR});
  });
}

// Dot products of RM rows with RN columns, K long: lane i RN + j of the result is row i with column j.
template <int RM, int RN>
[[gnu::always_inline]] inline WordVec half_dots(const BFloat16* const (&a)[RM],
                                                const BFloat16* const (&b)[RN], std::int64_t k) {
  static_assert(RM * RN == L);
  WordVec sum[L] = {};
  for (std::int64_t k0 = 0; k0 < k; k0 += L * step_depth) {
    WordVec v[RN];
#pragma GCC unroll 16
    for (int j = 0; j < RN; ++j) v[j] = load_along(b[j] + k0, k - k0);
#pragma GCC unroll 4
    for (int i = 0; i < RM; ++i) {
      const WordVec u = load_along(a[i] + k0, k - k0);
#pragma GCC unroll 16
      for (int j = 0; j < RN; ++j) add_words(sum[i * RN + j], u, v[j]);
    }
  }
  return sum_each<float>(sum);
}

// Columns n0..n1 of rows m..m + rows. Rows and columns beyond the end repeat the last one and are dropped.
template <int RM, int RN>
void half_dot_columns(const HalfProblem& g, std::int64_t m, int rows, std::int64_t n0, std::int64_t n1) {
  const BFloat16* a[RM];
  for (int i = 0; i < RM; ++i) a[i] = g.a + min_of(m + i, g.M - 1) * g.a_row;
  alignas(64) float sums[RM * 32];
  for (std::int64_t n = n0; n < n1; n += RN) {
    const BFloat16* b[RN];
    for (int j = 0; j < RN; ++j) b[j] = g.b + min_of(n + j, g.N - 1) * g.b_column;
    const WordVec dots = half_dots<RM, RN>(a, b, g.K);
    for (int i = 0; i < RM; ++i)
      for (int j = 0; j < RN; ++j) sums[i * 32 + n - n0 + j] = dots[i * RN + j];
  }
  finish(g, sums, 32, m, n0, rows, n1 - n0);
}

void multiply_dots(const HalfProblem& g) {
  constexpr int RM = L >= 8 ? 4 : 2, RN = L / RM;
  constexpr std::int64_t block = 32;
  const std::int64_t blocks = ceil_div(g.N, block), threads = threads_for(g.M * g.N * g.K);
  const std::int64_t tiles = ceil_div(g.M, RM);
  const Grid grid(tiles, blocks, threads);
  parallel_tasks(grid.count(), threads * 16384, [&](std::int64_t piece) {
    const std::int64_t i = piece / grid.n, j = piece % grid.n;
    for (std::int64_t n = blocks * j / grid.n; n < blocks * (j + 1) / grid.n; ++n)
      for (std::int64_t t = tiles * i / grid.m; t < tiles * (i + 1) / grid.m; ++t) {
        const auto rows = static_cast<int>(min_of<std::int64_t>(RM, g.M - t * RM));
        const std::int64_t end = min_of(g.N, (n + 1) * block);
        if (rows == 1)
          half_dot_columns<1, L>(g, t * RM, rows, n * block, end);
        else
          half_dot_columns<RM, RN>(g, t * RM, rows, n * block, end);
      }
  });
}

void choose(const HalfProblem& g) {
  if (g.M <= 24 && g.a_column == 1 && g.b_row == 1) return multiply_dots(g);
  if (g.M * g.K <= most_panels) return multiply_panels(g);
  multiply_packed(g);
}

void one_problem(Stream& stream, const GemmArgs& g, std::int64_t n) {
  const bool wide = g.out_dtype == DType::float32;
  char* c = static_cast<char*>(g.c.data) + n * g.c.batch_stride * (wide ? 4 : 2);
  choose({g.M, g.N, g.K, static_cast<const BFloat16*>(g.a.data) + n * g.a.batch_stride, g.a.row_stride,
          g.a.column_stride, static_cast<const BFloat16*>(g.b.data) + n * g.b.batch_stride, g.b.row_stride,
          g.b.column_stride, c, g.c.row_stride, wide, static_cast<float>(g.alpha), static_cast<float>(g.beta),
          static_cast<const BFloat16*>(g.bias), g.bias_axis, g.activation, g.activation_alpha, &stream});
}

}  // namespace

void gemm_bfloat16(Stream& stream, const GemmArgs& given) {
  const FlushDenormals flush;
  const bool turn = given.c.row_stride == 1 && (given.c.column_stride != 1 || given.N == 1);
  const GemmArgs g = turn ? transposed(given) : given;
  const bool gaps = g.c.column_stride != 1 && g.N > 1;
  if (g.M == 0 || g.N == 0 || g.K == 0 || g.alpha == 0 || gaps) return reference::gemm(stream, given);
  // Many small problems share the threads; a large one has them all.
  constexpr std::int64_t small = 128 * 128 * 128;
  const std::int64_t size = g.M * g.N * g.K;
  if (g.batch > 1 && size <= small)
    parallel_tasks(g.batch, g.batch * size / 8, [&](std::int64_t n) { one_problem(stream, g, n); });
  else
    for (std::int64_t n = 0; n < g.batch; ++n) one_problem(stream, g, n);
}

}  // namespace weft::cpu::WEFT_ISA
