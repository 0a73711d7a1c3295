// The matrix product's tile: MR rows by NR columns of C that stay in registers while the products run along
// K,
//
//   sum[i][j] = sum over k of a[k][i] b[k][j]        i < rows <= MR, j < NV vectors
//
// a and b are read in place or packed: a by any two strides, b with the columns of a row side by side. Each
// step of k loads NV vectors of b and multiplies them with a broadcast number of each row. The sizes leave
// registers for b's vectors and the broadcast:
//   AVX-512   12 x 2 vectors = 24 of 32 registers: 14 loads for 24 multiplications
//   others     6 x 2 vectors = 12 of 16
// Left to itself the compiler loads all broadcasts first and spills the sums, so a row's broadcast and its
// multiplications are one piece of assembly where the instruction set has a fused multiply-add.
//
// Every element's sum runs over k in order, whatever tile it lies in: how C is cut does not change a bit.
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

// sum[j] += *a v[j].
template <class T, int NV>
[[gnu::always_inline]] inline void add_row(typename Tile<T>::Vec (&sum)[NV], const T* a,
                                           const typename Tile<T>::Vec (&v)[NV]) {
#if defined(WEFT_ISA_avx512) || defined(WEFT_ISA_avx2)
  static_assert(NV == 1 || NV == 2);
  typename Tile<T>::Vec broadcast;
  if constexpr (sizeof(T) == 4 && NV == 2)
    asm("vbroadcastss %[a], %[t]\n\tvfmadd231ps %[v0], %[t], %[s0]\n\tvfmadd231ps %[v1], %[t], %[s1]"
        : [t] "=&v"(broadcast), [s0] "+v"(sum[0]), [s1] "+v"(sum[1])
        : [a] "m"(*a), [v0] "v"(v[0]), [v1] "v"(v[1]));
  else if constexpr (sizeof(T) == 4)
    asm("vbroadcastss %[a], %[t]\n\tvfmadd231ps %[v0], %[t], %[s0]"
        : [t] "=&v"(broadcast), [s0] "+v"(sum[0])
        : [a] "m"(*a), [v0] "v"(v[0]));
  else if constexpr (NV == 2)
    asm("vbroadcastsd %[a], %[t]\n\tvfmadd231pd %[v0], %[t], %[s0]\n\tvfmadd231pd %[v1], %[t], %[s1]"
        : [t] "=&v"(broadcast), [s0] "+v"(sum[0]), [s1] "+v"(sum[1])
        : [a] "m"(*a), [v0] "v"(v[0]), [v1] "v"(v[1]));
  else
    asm("vbroadcastsd %[a], %[t]\n\tvfmadd231pd %[v0], %[t], %[s0]"
        : [t] "=&v"(broadcast), [s0] "+v"(sum[0])
        : [a] "m"(*a), [v0] "v"(v[0]));
#else
#pragma GCC unroll 2
  for (int j = 0; j < NV; ++j) sum[j] += *a * v[j];
#endif
}

// sum[i][j], stored one row after the other, for `rows` rows and NV vectors. a[k][i] = a[i a_row + k a_step],
// b[k] = b[k b_step] and the NV vectors from there on. fetch: the panel of b to the right, which comes next,
// is asked for on the way.
template <class T, int rows, int NV, bool fetch = false>
void multiply_tile(std::int64_t k, const T* a, std::int64_t a_row, std::int64_t a_step, const T* b,
                   std::int64_t b_step, T* result) {
  using Vec = typename Tile<T>::Vec;
  constexpr int lanes = Tile<T>::lanes, bases = (rows + 2) / 3;
  Vec sum[rows][NV] = {};
  const std::int64_t a_row2 = 2 * a_row;
  // Three rows share a pointer, so that the pointers fit the registers.
  const T* base[bases];
#pragma GCC unroll 4
  for (int i = 0; i < bases; ++i) base[i] = a + 3 * i * a_row;
  for (; k > 0; --k, b += b_step) {
    Vec v[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) v[j] = *reinterpret_cast<const Vec*>(b + j * lanes);
    if constexpr (fetch)
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) __builtin_prefetch(b + (NV + j) * lanes, 0, 2);
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i)
      add_row<T, NV>(sum[i], base[i / 3] + (i % 3 == 0 ? 0 : i % 3 == 1 ? a_row : a_row2), v);
#pragma GCC unroll 4
    for (int i = 0; i < bases; ++i) {
      base[i] += a_step;
      asm("" : "+r"(base[i]));  // keeps the compiler from making a pointer of each row
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) *reinterpret_cast<Vec*>(result + (i * NV + j) * lanes) = sum[i][j];
}

template <class T>
using MultiplyTile = void (*)(std::int64_t, const T*, std::int64_t, std::int64_t, const T*, std::int64_t, T*);

// multiply_tile for a number of rows known at run time.
template <class T, int NV, bool fetch = false>
[[gnu::always_inline]] inline MultiplyTile<T> tile_for(int rows) {
  static_assert(tile_rows == 6 || tile_rows == 12);
  if constexpr (tile_rows == 12) {
    static constexpr MultiplyTile<T> all[] = {
        multiply_tile<T, 1, NV, fetch>,  multiply_tile<T, 2, NV, fetch>,  multiply_tile<T, 3, NV, fetch>,
        multiply_tile<T, 4, NV, fetch>,  multiply_tile<T, 5, NV, fetch>,  multiply_tile<T, 6, NV, fetch>,
        multiply_tile<T, 7, NV, fetch>,  multiply_tile<T, 8, NV, fetch>,  multiply_tile<T, 9, NV, fetch>,
        multiply_tile<T, 10, NV, fetch>, multiply_tile<T, 11, NV, fetch>, multiply_tile<T, 12, NV, fetch>};
    return all[rows - 1];
  } else {
    static constexpr MultiplyTile<T> all[] = {multiply_tile<T, 1, NV, fetch>, multiply_tile<T, 2, NV, fetch>,
                                              multiply_tile<T, 3, NV, fetch>, multiply_tile<T, 4, NV, fetch>,
                                              multiply_tile<T, 5, NV, fetch>, multiply_tile<T, 6, NV, fetch>};
    return all[rows - 1];
  }
}

}  // namespace weft::cpu::WEFT_ISA
