// The products of each plane: M[tile][k] = sum over c of V[tile][c] U[c][k], and for the weight's gradient
// S[c][k] += sum over tiles of V[tile][c] D[tile][k].
//
// The layouts of V, U, M, D are those that the inner loops read: nothing is packed. A kernel keeps MR x NV
// vectors of the result in registers; one step loads NV vectors and broadcasts MR numbers.
//   AVX-512   M: up to 14 tiles x 2 vectors (28 + 2 + 1 of 32 registers)   S: 8 or 4 channels x 2 vectors
//   others    M: up to  6 tiles x 2 vectors (12 + 2 + 1 of 16)             S: 4 channels x 2 vectors
#pragma once
#include "cpu/conv2d_winograd/tiles.h"
#include "cpu/conv2d_winograd/transpose.h"

namespace weft::cpu::WEFT_ISA {

constexpr int product_rows = vector_registers == 32 ? 14 : 6;
constexpr int panel = 2 * L;  // output channels of a panel of U

// Memory that a later step touches first: `runs` runs of `length` floats, `stride` apart, brought near a few
// lines at a time while products are computed.
struct Fetch {
  const float* run = nullptr;
  std::int64_t runs = 0, length = 0, stride = 0, at = 0;
  [[gnu::always_inline]] void some(int lines) {
    constexpr int line = 16;
    for (; lines > 0 && runs > 0; --lines) {
      __builtin_prefetch(run + at, 0, 2);
      at += line;
      if (at < length) continue;
      at = 0;
      run += stride;
      --runs;
    }
  }
};

// What the blocks' products fetch: the images of the next block, the place of this one's outputs.
struct Ahead {
  Fetch images, outputs;
};

// v: MR tiles, channel blocks `v_block` floats apart. u: [depth][NV L]. m: MR tiles, channel blocks `m_block`
// apart. next: the tiles of the next product. V is fetched a block of channels ahead: hardware sees no stream
// in so few lines.
template <int MR, int NV>
void multiply_tiles(std::int64_t depth, const float* v, std::int64_t v_block, const float* u, float* m,
                    std::int64_t m_block, bool add, const float* next) {
  Vec sum[MR][NV];
#pragma GCC unroll 14
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) sum[i][j] = add ? load(m + j * m_block + i * L) : Vec{};
  for (; depth > 0; depth -= L, v += v_block) {
    const int channels = static_cast<int>(min_of<std::int64_t>(depth, L));
    const float* ahead = depth > L ? v + v_block : next;
#pragma GCC unroll 1
    for (int c = 0; c < channels; ++c, u += NV * L, ahead += L) {
      __builtin_prefetch(ahead);
      Vec b[NV];
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) b[j] = load(u + j * L);
#pragma GCC unroll 14
      for (int i = 0; i < MR; ++i) {
        const Vec a = broadcast(v[i * L + c]);
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) sum[i][j] += a * b[j];
      }
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) store(m + j * m_block + i * L, sum[i][j]);
}

template <int NV, int MR = product_rows>
[[gnu::always_inline]] inline void multiply_some(int rows, std::int64_t depth, const float* v,
                                                 std::int64_t v_block, const float* u, float* m,
                                                 std::int64_t m_block, bool add, const float* next) {
  if constexpr (MR > 0) {
    if (rows == MR) return multiply_tiles<MR, NV>(depth, v, v_block, u, m, m_block, add, next);
    multiply_some<NV, MR - 1>(rows, depth, v, v_block, u, m, m_block, add, next);
  }
}

// All tiles of `range`, in nearly equal groups. vectors: of the panel, 1 or 2. next: V of the next range.
inline void multiply_range(Range range, int vectors, std::int64_t depth, const float* v, std::int64_t v_block,
                           const float* u, float* m, std::int64_t m_block, bool add, const float* next,
                           Ahead& ahead) {
  const std::int64_t tiles = range.end - range.begin, groups = ceil_div(tiles, product_rows);
  for (std::int64_t g = 0; g < groups; ++g) {
    std::int64_t first, size;
    Blocks::cut(tiles, groups, g, first, size);
    first += range.begin;
    const float* then = g + 1 < groups ? v + (first + size) * L : next;
    ahead.images.some(12);
    ahead.outputs.some(12);
    if (vectors == 2)
      multiply_some<2>(static_cast<int>(size), depth, v + first * L, v_block, u, m + first * L, m_block, add,
                       then);
    else
      multiply_some<1>(static_cast<int>(size), depth, v + first * L, v_block, u, m + first * L, m_block, add,
                       then);
  }
}

// s [MR][NV L] = (add: +=) sum over tiles of v[tile][MR of L] d[tile][L]; d's channel blocks are d_block
// floats apart.
template <int MR, int NV>
void multiply_channels(std::int64_t tiles, const float* v, const float* d, std::int64_t d_block, float* s,
                       bool add) {
  Vec sum[MR][NV];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) sum[i][j] = add ? load(s + (i * NV + j) * L) : Vec{};
#pragma GCC unroll 1
  for (std::int64_t t = 0; t < tiles; ++t, v += L, d += L) {
    Vec b[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) b[j] = load(d + j * d_block);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      const Vec a = broadcast(v[i]);
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) sum[i][j] += a * b[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) store(s + (i * NV + j) * L, sum[i][j]);
}

// All of `channels` (at most L) channels. vectors: of the panel, 1 or 2.
inline void multiply_block(std::int64_t tiles, std::int64_t channels, int vectors, const float* v,
                           const float* d, std::int64_t d_block, float* s, bool add) {
  constexpr int most = vector_registers == 32 ? 8 : 4;
  for (std::int64_t c = 0; c < channels;) {
    const bool full = channels - c > 4 && most == 8;
    float* to = s + c * vectors * L;
    if (vectors == 2)
      full ? multiply_channels<most, 2>(tiles, v + c, d, d_block, to, add)
           : multiply_channels<4, 2>(tiles, v + c, d, d_block, to, add);
    else
      full ? multiply_channels<most, 1>(tiles, v + c, d, d_block, to, add)
           : multiply_channels<4, 1>(tiles, v + c, d, d_block, to, add);
    c += full ? most : 4;
  }
}

}  // namespace weft::cpu::WEFT_ISA
