// From products to images: Y = A^T M A of each tile, then bias, relu, and back to NCHW.
//
//   M [plane][channel block][tile][L]
#pragma once
#include "cpu/conv2d_winograd/input.h"
#include "cpu/simd/stream.h"

namespace weft::cpu::WEFT_ISA {

// Images (N, K, P, Q) to write.
struct Outputs {
  float* data;
  const float* bias;  // may be null
  bool relu;
  std::int64_t K, P, Q;
  bool passes = false;  // stored past the cache
};
inline Outputs outputs_of(const Conv2dForwardArgs& a, bool passes = false) {
  return {static_cast<float*>(a.out),
          static_cast<const float*>(a.bias),
          a.activation == Activation::relu,
          a.p.K,
          a.p.P,
          a.p.Q,
          passes};
}

// Floats that transform_output needs to work.
template <class F>
std::int64_t output_scratch(const Blocks& blocks) {
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < blocks.row_pieces * blocks.column_pieces; ++i)
    most = max_of(most, blocks[i].rows * F::m * blocks[i].columns * F::m * L);
  return most;
}

// NaN stays NaN.
[[gnu::always_inline]] inline Vec relu_of(Vec x) { return x <= 0.0f ? Vec{} : x; }

// One tile to pixels `step` floats a row apart; of it `rows` x `columns` are inside.
template <class F>
[[gnu::always_inline]] inline void output_tile(const float* m, std::int64_t plane, Vec bias, bool relu,
                                               float* to, std::int64_t step, std::int64_t rows,
                                               std::int64_t columns) {
  Vec t[F::m][F::n];
#pragma GCC unroll 7
  for (int j = 0; j < F::n; ++j) {
    Vec in[F::n], out[F::m];
#pragma GCC unroll 7
    for (int i = 0; i < F::n; ++i) in[i] = load(m + (i * F::n + j) * plane);
    F::output(in, out);
#pragma GCC unroll 5
    for (int i = 0; i < F::m; ++i) t[i][j] = out[i];
  }
#pragma GCC unroll 5
  for (int i = 0; i < F::m; ++i) {
    if (i >= rows) break;
    Vec y[F::m];
    F::output(t[i], y);
#pragma GCC unroll 5
    for (int j = 0; j < F::m; ++j) {
      y[j] += bias;
      if (relu) y[j] = relu_of(y[j]);
      if (j < columns) store(to + i * step + j * L, y[j]);
    }
  }
}

// Squares from `from`, turned, to `channels` planes `plane` apart; `count` squares go to each plane at a
// time.
template <int count>
[[gnu::always_inline]] inline void store_squares(const float* from, float* to, std::int64_t plane,
                                                 std::int64_t channels, bool streams = false) {
  Vec r[L];
  if (count == 1 && streams) {
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) r[i] = load(from + i * L);
    transpose(r);
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) stream_line(to + i * plane, r[i]);
  } else if constexpr (count == 1) {
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) r[i] = load(from + i * L);
    store_transposed(r, to, plane, channels);
  } else {
    alignas(64) float turned[L * count * L];
    for (int square = 0; square < count; ++square) {
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) r[i] = load(from + (square * L + i) * L);
      store_transposed(r, turned + square * L, count * L, L);
    }
    for (std::int64_t c = 0; c < channels; ++c)
#pragma GCC unroll 4
      for (int square = 0; square < count; ++square)
        store(to + c * plane + square * L, load(turned + (c * count + square) * L));
  }
}

// `pixels` vectors at `from` to `channels` planes `plane` apart.
// passes: the images leave the cache anyway, so whole lines are stored past it.
inline void store_run(const float* from, std::int64_t pixels, float* to, std::int64_t plane,
                      std::int64_t channels, bool passes) {
  if (pixels < L) {
    for (std::int64_t i = 0; i < pixels; ++i)
      for (std::int64_t c = 0; c < channels; ++c) to[c * plane + i] = from[i * L + c];
    return;
  }
  std::int64_t f = 0;
  // Planes a multiple of 4 KiB apart fall into one set of the L1 cache, which has fewer ways than there are
  // planes: then several lines of a plane are written at once.
  if (plane % 1024 == 0)
    for (; f + 4 * L <= pixels; f += 4 * L) store_squares<4>(from + f * L, to + f, plane, channels);
  const bool streams = passes && is_line(to) && plane % L == 0 && channels == L && pixels % L == 0;
  for (; f < pixels; f += L) {
    f = min_of(f, pixels - L);  // the last square overlaps the one before
    store_squares<1>(from + f * L, to + f, plane, channels, streams);
  }
  if (streams) stream_end();
}

// Channels k0 .. of a box of one image, [rows][columns][L] at `pixels`, to their place.
inline void store_box(const Outputs& out, std::int64_t n, std::int64_t k0, std::int64_t p0, std::int64_t rows,
                      std::int64_t q0, std::int64_t columns, const float* pixels) {
  const std::int64_t channels = min_of<std::int64_t>(L, out.K - k0);
  float* to = out.data + ((n * out.K + k0) * out.P + p0) * out.Q + q0;
  if (columns == out.Q) return store_run(pixels, rows * columns, to, out.P * out.Q, channels, out.passes);
  for (std::int64_t row = 0; row < rows; ++row)
    store_run(pixels + row * columns * L, columns, to + row * out.Q, out.P * out.Q, channels, out.passes);
}

// The outputs of panel p of a block of one image.
inline Fetch fetch_output(const Outputs& out, const Blocks& blocks, const Block& b, std::int64_t p) {
  if (out.passes) return {};
  const std::int64_t last = b.row + b.rows - 1, p0 = blocks.rows.start(b.row),
                     p1 = blocks.rows.start(last) + blocks.rows.extent(last);
  return {out.data + ((b.image * out.K + p * panel) * out.P + p0) * out.Q,
          min_of<std::int64_t>(panel, out.K - p * panel), (p1 - p0) * out.Q, out.P * out.Q};
}

// The channels `channel_block` of all outputs of a block. m: M of that channel block.
template <class F, class Out>
inline void transform_output(const Out& out, const Blocks& blocks, const Block& b, std::int64_t channel_block,
                             const float* m, std::int64_t plane, float* pixels) {
  const std::int64_t k0 = channel_block * L, channels = min_of<std::int64_t>(L, out.K - k0);
  const std::int64_t last_row = b.row + b.rows - 1, last_column = b.column + b.columns - 1;
  const std::int64_t p0 = blocks.rows.start(b.row), q0 = blocks.columns.start(b.column);
  const std::int64_t rows = blocks.rows.start(last_row) + blocks.rows.extent(last_row) - p0;
  const std::int64_t columns = blocks.columns.start(last_column) + blocks.columns.extent(last_column) - q0;
  Vec bias{};
  if (out.bias)
    for (std::int64_t c = 0; c < channels; ++c) bias[c] = out.bias[k0 + c];
  for (std::int64_t image = 0; image < b.images; ++image) {
    for (std::int64_t row = 0; row < b.rows; ++row) {
      std::int64_t wide, narrow;
      b.numbers(image, row, wide, narrow);
      const std::int64_t extent = blocks.rows.extent(b.row + row);
      float* tiles = pixels + (blocks.rows.start(b.row + row) - p0) * columns * L;
      for (std::int64_t column = 0; column < b.columns; ++column) {
        const std::int64_t tile = column < b.wide_columns ? wide + column : narrow + column - b.wide_columns;
        output_tile<F>(m + tile * L, plane, bias, out.relu,
                       tiles + (blocks.columns.start(b.column + column) - q0) * L, columns * L, extent,
                       blocks.columns.extent(b.column + column));
      }
    }
    store_box(out, b.image + image, k0, p0, rows, q0, columns, pixels);
  }
}

}  // namespace weft::cpu::WEFT_ISA
