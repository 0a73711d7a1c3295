// Products that the caches hold: A is read where it lies, by any strides, and B too if its columns lie
// together; else the panel of B in use is packed, as is a last, narrow one (a tile reads whole vectors).
// Nothing is shared between threads, so nobody waits.
#pragma once
#include "cpu/gemm/pack.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

constexpr std::int64_t in_place_slice = 512;

// Rows m0..m1 of the panel at column n.
template <class T>
void panel_in_place(const Problem<T>& g, std::int64_t m0, std::int64_t m1, std::int64_t n, std::int64_t k0,
                    std::int64_t k, Stage stage, T* buffer) {
  constexpr std::int64_t MR = Tile<T>::MR, NR = Tile<T>::NR;
  const std::int64_t columns = min_of(NR, g.N - n);
  const T* b = g.b + k0 * g.b_row + n * g.b_column;
  std::int64_t b_step = g.b_row;
  if (g.b_column != 1 || columns % Tile<T>::lanes != 0) {
    b_step = columns > Tile<T>::lanes ? NR : Tile<T>::lanes;
    pack_panel<T>(buffer, b_step, b, columns, g.b_column, k, g.b_row);
    b = buffer;
  }
  // The rows in tiles of even height. The first one asks for the next panel, where that one is whole.
  const bool next = b != buffer && n + 2 * NR <= g.N;
  const std::int64_t tiles = ceil_div(m1 - m0, MR);
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t m = m0 + (m1 - m0) * t / tiles, rows = m0 + (m1 - m0) * (t + 1) / tiles - m;
    tile<T>(g, k, g.a + m * g.a_row + k0 * g.a_column, g.a_row, g.a_column, b, b_step, m, n,
            static_cast<int>(rows), columns, stage, next && t == 0);
  }
}

template <class T>
void multiply_in_place(const Problem<T>& g) {
  constexpr std::int64_t MR = Tile<T>::MR, NR = Tile<T>::NR;
  const std::int64_t panels = ceil_div(g.N, NR);
  const Grid grid(ceil_div(g.M, MR), panels, threads_for(g.M * g.N * g.K));
  const Slices slices(g.K, in_place_slice);
  parallel_tasks(grid.count(), g.M * g.N * g.K, [&](std::int64_t piece) {
    const std::int64_t i = piece / grid.n, j = piece % grid.n;
    const std::int64_t m0 = g.M * i / grid.m, m1 = g.M * (i + 1) / grid.m;
    const Scratch<T> buffer(NR * min_of(slices.length, g.K));
    for (std::int64_t panel = panels * j / grid.n; panel < panels * (j + 1) / grid.n; ++panel)
      for (std::int64_t s = 0; s < slices.count; ++s) {
        const std::int64_t k0 = s * slices.length, k = min_of(slices.length, g.K - k0);
        panel_in_place<T>(g, m0, m1, panel * NR, k0, k, {s == 0, s + 1 == slices.count}, buffer.data());
      }
    if (g.streams) stream_end();
  });
}

}  // namespace weft::cpu::WEFT_ISA
