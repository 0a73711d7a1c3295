// Packing: blocks of A and B copied into the order in which a tile reads them, so that the inner loop runs
// over consecutive memory whatever the strides of the matrices are. Missing rows and columns become zeros.
#pragma once
#include "cpu/gemm/tile.h"
#include "cpu/parallel.h"
#include "ops/gemm.h"

namespace weft::cpu::WEFT_ISA {

// to[step][lane] = scale * from[lane * lane_stride + step * step_stride], for `lanes` lanes of `size`.
template <class T>
[[gnu::always_inline]] inline void pack_panel(T* to, std::int64_t size, const T* from, std::int64_t lanes,
                                              std::int64_t lane_stride, std::int64_t steps,
                                              std::int64_t step_stride, T scale) {
  if (lanes < size)
    for (std::int64_t i = 0; i < steps * size; ++i) to[i] = 0;
  if (lane_stride == 1) {
    for (std::int64_t step = 0; step < steps; ++step)
      for (std::int64_t lane = 0; lane < lanes; ++lane)
        to[step * size + lane] = scale * from[step * step_stride + lane];
    return;
  }
  // Four lanes at a time: four streams are read, and what is written lies close together.
  std::int64_t lane = 0;
  for (; lane + 4 <= lanes; lane += 4) {
    const T* row = from + lane * lane_stride;
    for (std::int64_t step = 0; step < steps; ++step)
      for (int i = 0; i < 4; ++i)
        to[step * size + lane + i] = scale * row[i * lane_stride + step * step_stride];
  }
  for (; lane < lanes; ++lane)
    for (std::int64_t step = 0; step < steps; ++step)
      to[step * size + lane] = scale * from[lane * lane_stride + step * step_stride];
}

// Panel i of A: rows i MR .. (i+1) MR of the slice of k from k0 on, scaled by alpha.
template <class T>
void pack_a(T* to, const GemmArgs& g, const T* a, std::int64_t i, std::int64_t k0, std::int64_t k) {
  constexpr std::int64_t MR = Tile<T>::MR;
  pack_panel<T>(to, MR, a + i * MR * g.a.row_stride + k0 * g.a.column_stride, min_of(MR, g.M - i * MR),
                g.a.row_stride, k, g.a.column_stride, static_cast<T>(g.alpha));
}

// Panel j of B: columns j NR .. (j+1) NR.
template <class T>
void pack_b(T* to, const GemmArgs& g, const T* b, std::int64_t j, std::int64_t k0, std::int64_t k) {
  constexpr std::int64_t NR = Tile<T>::NR;
  pack_panel<T>(to, NR, b + j * NR * g.b.column_stride + k0 * g.b.row_stride, min_of(NR, g.N - j * NR),
                g.b.column_stride, k, g.b.row_stride, T(1));
}

}  // namespace weft::cpu::WEFT_ISA
