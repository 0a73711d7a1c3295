// Many rows, few columns and few steps of K: all of B is packed once and stays in the second-level cache, A
// is read where it lies, each row once, and C is written row after row. The rows of the next tile are asked
// for on the way.
#pragma once
#include "cpu/gemm/pack.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

constexpr std::int64_t tall_tiles = 16;  // of a task

template <class T>
bool takes_tall(const Problem<T>& g) {
  return g.a_column == 1 && g.K <= 256 && g.N * g.K <= (256 << 10) / static_cast<std::int64_t>(sizeof(T));
}

// Asks for the rows of A from m on, part j of `parts`.
template <class T>
[[gnu::always_inline]] inline void ask_for_rows(const Problem<T>& g, std::int64_t m, std::int64_t j,
                                                std::int64_t parts) {
  constexpr std::int64_t MR = Tile<T>::MR, line = 64 / sizeof(T);
  if (m + MR > g.M) return;
  for (std::int64_t i = MR * j / parts; i < MR * (j + 1) / parts; ++i)
    for (std::int64_t k = 0; k < g.K; k += line) __builtin_prefetch(g.a + (m + i) * g.a_row + k);
}

template <class T>
void multiply_tall(const Problem<T>& g) {
  constexpr std::int64_t MR = Tile<T>::MR, NR = Tile<T>::NR, L = Tile<T>::lanes;
  const std::int64_t panels = ceil_div(g.N, NR), tiles = ceil_div(g.M, MR);
  const Scratch<T> b(panels * NR * g.K);
  const auto step = [&](std::int64_t columns) { return columns > L ? NR : L; };
  parallel_tasks(panels, g.N * g.K, [&](std::int64_t j) {
    const std::int64_t columns = min_of(NR, g.N - j * NR);
    pack_panel<T>(b.data() + j * NR * g.K, step(columns), g.b + j * NR * g.b_column, columns, g.b_column, g.K,
                  g.b_row);
  });
  parallel_ranges(tiles, tall_tiles, g.M * g.N * g.K / 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t m = i * MR, rows = min_of(MR, g.M - m);
      for (std::int64_t j = 0; j < panels; ++j) {
        const std::int64_t n = j * NR, columns = min_of(NR, g.N - n);
        ask_for_rows(g, m + MR, j, panels);
        tile<T>(g, g.K, g.a + m * g.a_row, g.a_row, 1, b.data() + n * g.K, step(columns), m, n,
                static_cast<int>(rows), columns, {true, true});
      }
    }
    if (g.streams) stream_end();
  });
}

}  // namespace weft::cpu::WEFT_ISA
