// The matrix product's tile sizes, and the tile itself.
//
// A tile of C, MR rows by NR columns, stays in registers while the products run along K:
//   C[0..MR, 0..NR] += sum over k of a[k][0..MR] b[k][0..NR]
// a and b are packed: what one step of k needs lies together. Each step loads NV vectors of b and multiplies
// them with MR broadcast numbers of a. The sizes leave registers for b's vectors and the broadcast:
//   AVX-512   12 x 2 vectors = 24 of 32 registers
//   others     6 x 2 vectors = 12 of 16
// Source: Goto, van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
#pragma once
#include <cstdint>

#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

constexpr int tile_rows = vector_registers == 32 ? 12 : 6;
constexpr int tile_vectors = 2;

template <class T>
struct Tile {
  static constexpr int lanes = lanes_of<T>;
  static constexpr int MR = tile_rows;
  static constexpr int NV = tile_vectors;
  static constexpr int NR = NV * lanes;
  using Vec = typename VecOf<T>::type;
};

// Products run along K in slices of this length: a slice of a (KC x MR) stays in the L1 cache, KC x NC of b
// in the L2. Fixed, because each slice is rounded on its own: another length would give other bits.
constexpr std::int64_t KC = 256;
constexpr std::int64_t NC = 512;

// acc = a b for `rows` of the tile's MR rows, over k steps. Rows beyond `rows` are not computed.
template <class T, int rows>
[[gnu::always_inline]] inline void multiply_tile(std::int64_t k, const T* a, const T* b,
                                                 typename Tile<T>::Vec (&acc)[Tile<T>::MR][Tile<T>::NV]) {
  using Vec = typename Tile<T>::Vec;
  constexpr int NV = Tile<T>::NV, lanes = Tile<T>::lanes;
  Vec sum[rows][NV] = {};
  for (std::int64_t step = 0; step < k; ++step, a += Tile<T>::MR, b += Tile<T>::NR) {
    Vec v[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) v[j] = *reinterpret_cast<const Vec*>(b + j * lanes);
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) sum[i][j] += a[i] * v[j];
  }
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] = sum[i][j];
}

}  // namespace weft::cpu::WEFT_ISA
