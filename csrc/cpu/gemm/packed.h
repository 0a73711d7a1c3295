// Large products: A and B are packed, a slice of K at a time, by all threads together; then each thread has a
// piece of C. In it a block of A and a group of B's panels stay in the L2 cache, and a panel of A in the L1
// cache while the group goes by; C is written in rows as long as the group is wide. Source: Goto, van de
// Geijn, "Anatomy of high-performance matrix multiplication", 2008.
#pragma once
#include "cpu/gemm/pack.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

template <class T>
constexpr std::int64_t packed_slice = 2048 / sizeof(T);       // of K: a panel of B has 64 KiB, of A 24
constexpr std::int64_t packed_rows = 30, packed_columns = 4;  // panels of A: 720 KiB, of B: 256 KiB
constexpr std::int64_t packed_strip = 6144;  // columns of C at a time: bounds the memory for B

// Packed panels of one slice of K: A's one after the other, then B's.
template <class T>
struct Panels {
  const T *a, *b;
  std::int64_t k;
};

// The tiles of row panels i0..i1 and column panels j0..j1; n0: the strip's first column. C's tile is asked
// for before it is needed.
template <class T>
void multiply_piece(const Problem<T>& g, const Panels<T>& p, std::int64_t n0, std::int64_t i0,
                    std::int64_t i1, std::int64_t j0, std::int64_t j1, Stage stage) {
  constexpr std::int64_t MR = Tile<T>::MR, NR = Tile<T>::NR;
  for (std::int64_t block = i0; block < i1; block += packed_rows)
    for (std::int64_t group = j0; group < j1; group += packed_columns)
      for (std::int64_t i = block; i < min_of(i1, block + packed_rows); ++i)
        for (std::int64_t j = group; j < min_of(j1, group + packed_columns); ++j) {
          const std::int64_t m = i * MR, n = n0 + j * NR;
          const int rows = static_cast<int>(min_of(MR, g.M - m));
          for (int row = 0; row < rows && !g.streams; ++row) {
            __builtin_prefetch(g.c + (m + row) * g.c_row + n, 1);
            __builtin_prefetch(g.c + (m + row) * g.c_row + n + NR - 1, 1);
          }
          tile<T>(g, p.k, p.a + i * MR * p.k, 1, MR, p.b + j * NR * p.k, NR, m, n, rows, min_of(NR, g.N - n),
                  stage);
        }
}

template <class T>
void multiply_packed(const Problem<T>& g) {
  constexpr std::int64_t MR = Tile<T>::MR, NR = Tile<T>::NR;
  const Slices slices(g.K, packed_slice<T>);
  const std::int64_t a_panels = ceil_div(g.M, MR), strip = min_of(g.N, packed_strip);
  const Scratch<T> a(a_panels * MR * slices.length), b(ceil_div(strip, NR) * NR * slices.length);
  const std::int64_t threads = threads_for(g.M * g.N * g.K);
  for (std::int64_t n0 = 0; n0 < g.N; n0 += strip) {
    const std::int64_t columns = min_of(strip, g.N - n0), b_panels = ceil_div(columns, NR);
    const Grid grid(a_panels, b_panels, threads);
    for (std::int64_t s = 0; s < slices.count; ++s) {
      const std::int64_t k0 = s * slices.length, k = min_of(slices.length, g.K - k0);
      parallel_tasks(a_panels + b_panels, threads * 16384, [&](std::int64_t i) {
        if (i < a_panels) {
          pack_panel<T>(a.data() + i * MR * k, MR, g.a + i * MR * g.a_row + k0 * g.a_column,
                        min_of(MR, g.M - i * MR), g.a_row, k, g.a_column);
        } else {
          const std::int64_t j = i - a_panels, n = n0 + j * NR;
          pack_panel<T>(b.data() + j * NR * k, NR, g.b + n * g.b_column + k0 * g.b_row, min_of(NR, g.N - n),
                        g.b_column, k, g.b_row);
        }
      });
      parallel_tasks(grid.count(), threads * 16384, [&](std::int64_t piece) {
        const std::int64_t i = piece / grid.n, j = piece % grid.n;
        multiply_piece<T>(g, {a.data(), b.data(), k}, n0, a_panels * i / grid.m, a_panels * (i + 1) / grid.m,
                          b_panels * j / grid.n, b_panels * (j + 1) / grid.n,
                          {s == 0, s + 1 == slices.count});
        if (g.streams) stream_end();
      });
    }
  }
}

}  // namespace weft::cpu::WEFT_ISA
