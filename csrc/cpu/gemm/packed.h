// The blocked matrix product over packed panels.
#pragma once
#include "cpu/gemm/pack.h"
#include "cpu/gemm/tile.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

// What happens to a tile on its way into C.
template <class T>
struct Finish {
  T beta;         // 0: C is not read
  const T* bias;  // null until the last slice of K
  BiasAxis axis;
  bool relu;
};

template <class T>
void store_tile(const typename Tile<T>::Vec (&acc)[Tile<T>::MR][Tile<T>::NV], T* c, std::int64_t row_stride,
                std::int64_t m, std::int64_t n, std::int64_t rows, std::int64_t columns,
                const Finish<T>& finish) {
  using Vec = typename Tile<T>::Vec;
  constexpr int lanes = Tile<T>::lanes;
  const Vec zero = {};
  const bool whole = columns == Tile<T>::NR;
  for (int i = 0; i < rows; ++i) {
    T* to = c + (m + i) * row_stride + n;
    const T row_bias = finish.bias && finish.axis == BiasAxis::row ? finish.bias[m + i] : T(0);
    for (int j = 0; j < Tile<T>::NV; ++j, to += lanes) {
      const std::int64_t left = whole ? lanes : min_of<std::int64_t>(lanes, columns - j * lanes);
      if (left <= 0) break;
      // An edge goes through a buffer, so that nothing beyond it is touched.
      T buffer[lanes];
      Vec v = acc[i][j] + row_bias;
      if (finish.beta != 0) {
        const T* old = to;
        if (left < lanes) {
          for (int l = 0; l < lanes; ++l) buffer[l] = l < left ? to[l] : T(0);
          old = buffer;
        }
        v += finish.beta * *reinterpret_cast<const Vec*>(old);
      }
      if (finish.bias && finish.axis == BiasAxis::column) {
        const T* bias = finish.bias + n + j * lanes;
        if (left < lanes) {
          for (int l = 0; l < lanes; ++l) buffer[l] = l < left ? bias[l] : T(0);
          bias = buffer;
        }
        v += *reinterpret_cast<const Vec*>(bias);
      }
      if (finish.relu) v = v <= 0 ? zero : v;
      if (left == lanes) {
        *reinterpret_cast<Vec*>(to) = v;
      } else {
        for (int l = 0; l < left; ++l) to[l] = v[l];
      }
    }
  }
}

// One tile of C from panel i of A and panel j of B.
template <class T>
void tile(const GemmArgs& g, const T* a, const T* b, T* c, std::int64_t i, std::int64_t j, std::int64_t k,
          const Finish<T>& finish) {
  constexpr int MR = Tile<T>::MR;
  typename Tile<T>::Vec acc[MR][Tile<T>::NV];
  const std::int64_t rows = min_of<std::int64_t>(MR, g.M - i * MR);
  if (rows == MR)
    multiply_tile<T, MR>(k, a, b, acc);
  else if (rows > MR * 2 / 3)
    multiply_tile<T, MR>(k, a, b, acc);
  else if (rows > MR / 3)
    multiply_tile<T, MR * 2 / 3>(k, a, b, acc);
  else
    multiply_tile<T, MR / 3>(k, a, b, acc);
  constexpr int NR = Tile<T>::NR;
  store_tile<T>(acc, c, g.c.row_stride, i * MR, j * NR, rows, min_of<std::int64_t>(NR, g.N - j * NR), finish);
}

// One problem of the batch. C's columns lie together (column_stride 1).
template <class T>
void gemm_packed(const GemmArgs& g, const T* a, const T* b, T* c, bool relu) {
  constexpr std::int64_t MR = Tile<T>::MR, NR = Tile<T>::NR;
  const std::int64_t a_panels = ceil_div(g.M, MR), b_panels = ceil_div(g.N, NR);
  const std::int64_t longest = min_of(g.K, KC);
  const Scratch<T> packed_a(a_panels * MR * longest), packed_b(b_panels * NR * longest);
  // Tasks: groups of panels of A by groups of panels of B, enough of them to share among threads evenly.
  const std::int64_t group_b = min_of(b_panels, NC / NR), b_groups = ceil_div(b_panels, group_b);
  const std::int64_t wanted = ceil_div(16, b_groups);
  const std::int64_t group_a = max_of<std::int64_t>(1, min_of<std::int64_t>(16, a_panels / wanted));
  const std::int64_t a_groups = ceil_div(a_panels, group_a);

  for (std::int64_t k0 = 0; k0 == 0 || k0 < g.K; k0 += KC) {
    const std::int64_t k = min_of(KC, g.K - k0);
    const bool first = k0 == 0, last = k0 + KC >= g.K;
    parallel_tasks(a_panels + b_panels, (g.M + g.N) * k / 2, [&](std::int64_t panel) {
      if (panel < a_panels)
        pack_a<T>(packed_a.data() + panel * MR * k, g, a, panel, k0, k);
      else
        pack_b<T>(packed_b.data() + (panel - a_panels) * NR * k, g, b, panel - a_panels, k0, k);
    });
    const Finish<T> finish{first ? static_cast<T>(g.beta) : T(1),
                           last ? static_cast<const T*>(g.bias) : nullptr, g.bias_axis, last && relu};
    parallel_tasks(a_groups * b_groups, g.M * g.N * k / 8, [&](std::int64_t task) {
      const std::int64_t i0 = task / b_groups * group_a, j0 = task % b_groups * group_b;
      for (std::int64_t i = i0; i < min_of(i0 + group_a, a_panels); ++i)
        for (std::int64_t j = j0; j < min_of(j0 + group_b, b_panels); ++j)
          tile<T>(g, packed_a.data() + i * MR * k, packed_b.data() + j * NR * k, c, i, j, k, finish);
    });
  }
}

}  // namespace weft::cpu::WEFT_ISA
