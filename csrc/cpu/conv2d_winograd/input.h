// From images to products' operands: V = B^T d B of each tile and channel, and D = A dy A^T for the weight's
// gradient.
//
// Lanes are channels, whatever the size of the image. A box of NCHW pixels of L channels is turned by squares
// of L x L into a strip [row][column][L], zeros where the image ends; from there every load is one vector.
//
//   V [plane][channel block][tile][L]     planes `plane` floats apart (see plane_stride)
//
// Vertical transforms run once over each column of the strip, because neighbouring tiles share two of six.
#pragma once
#include "cpu/conv2d_winograd/product.h"
#include "cpu/conv2d_winograd/tiles.h"
#include "cpu/conv2d_winograd/transpose.h"

namespace weft::cpu::WEFT_ISA {

// Images (N, C, H, W) and where the padded image begins.
struct Images {
  const float* data;
  std::int64_t C, H, W, top, left;
};

// One pixel of `channels` channels at `from`.
inline Vec load_pixel(const float* from, std::int64_t plane, std::int64_t channels) {
  Vec v{};
  for (std::int64_t c = 0; c < channels; ++c) v[c] = from[c * plane];
  return v;
}

// Pixels [first, last) of L planes, flat, to the strip; pixel (h, w) goes to to[h step + w L].
inline void load_run(const float* x, std::int64_t plane, std::int64_t channels, std::int64_t W,
                     std::int64_t first, std::int64_t last, float* to, std::int64_t step) {
  std::int64_t f = first;
  while (f < last) {
    if (last - first < L) {  // too few for a square
      store(to + f / W * step + f % W * L, load_pixel(x + f, plane, channels));
      ++f;
      continue;
    }
    f = min_of(f, last - L);  // the last square overlaps the one before
    Vec r[L];
    load_transposed(x + f, plane, channels, r);
    std::int64_t h = f / W, w = f - h * W;
    float* at = to + h * step + w * L;
    if (w + L <= W) {
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) store(at + i * L, r[i]);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) {
        store(at, r[i]);
        at += L;
        if (++w == W) {
          w = 0;
          at += step - W * L;
        }
      }
    }
    f += L;
  }
}

[[gnu::always_inline]] inline void clear(float* to, std::int64_t vectors) {
  for (std::int64_t i = 0; i < vectors; ++i) store(to + i * L, Vec{});
}

// Rows h0 .. h0 + rows, columns w0 .. w0 + columns of channels c0 .. of image n, as a strip; outside is zero.
inline void load_strip(const Images& x, std::int64_t n, std::int64_t c0, std::int64_t h0, std::int64_t rows,
                       std::int64_t w0, std::int64_t columns, float* strip) {
  const std::int64_t plane = x.H * x.W, channels = min_of<std::int64_t>(L, x.C - c0), step = columns * L;
  const float* from = x.data + (n * x.C + c0) * plane;
  const std::int64_t top = min_of(h0 + rows, max_of<std::int64_t>(h0, 0)),
                     bottom = max_of(top, min_of(h0 + rows, x.H));
  const std::int64_t left = min_of(w0 + columns, max_of<std::int64_t>(w0, 0)),
                     right = max_of(left, min_of(w0 + columns, x.W));
  clear(strip, (top - h0) * columns);
  clear(strip + (bottom - h0) * step, (h0 + rows - bottom) * columns);
  for (std::int64_t h = top; h < bottom; ++h) {
    clear(strip + (h - h0) * step, left - w0);
    clear(strip + (h - h0) * step + (right - w0) * L, w0 + columns - right);
  }
  if (left == right || top == bottom) return;
  if (right - left == x.W) {
    load_run(from, plane, channels, x.W, top * x.W, bottom * x.W, strip - h0 * step - w0 * L, step);
  } else {
    for (std::int64_t h = top; h < bottom; ++h)
      load_run(from + h * x.W, plane, channels, x.W, left, right, strip + (h - h0) * step - w0 * L, step);
  }
}

// The operand of one block: where it lies and how many numbers its scratch needs.
struct Operand {
  Operand(std::int64_t channels, std::int64_t tiles)
      : blocks(ceil_div(channels, L)), tiles(tiles), plane(plane_stride(blocks * tiles)) {}
  std::int64_t blocks, tiles, plane;
  float* at(float* data, std::int64_t channel_block, std::int64_t tile) const {
    return data + (channel_block * tiles + tile) * L;
  }
};

// Columns of the strip under a block, its rows likewise.
[[gnu::always_inline]] inline std::int64_t reach(const Axis& axis, std::int64_t first, std::int64_t count,
                                                 int n) {
  return axis.start(first + count - 1) - axis.start(first) + n;
}

// Floats that transform_input and transform_dout need to work.
template <class F>
std::int64_t input_scratch(const Blocks& blocks) {
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < blocks.row_pieces * blocks.column_pieces; ++i) {
    const Block b = blocks[i];
    const std::int64_t columns = reach(blocks.columns, b.column, b.columns, F::n);
    most = max_of(most, (reach(blocks.rows, b.row, b.rows, F::n) + F::n) * columns * L);
  }
  return most;
}

// The rows of x under a block, all channels.
template <class F>
Fetch fetch_input(const Images& x, const Blocks& blocks, const Block& b) {
  const std::int64_t h = blocks.rows.start(b.row) - x.top, first = max_of<std::int64_t>(0, h),
                     last = min_of(x.H, h + reach(blocks.rows, b.row, b.rows, F::n));
  return {x.data + (b.image * x.C * x.H + first) * x.W, b.images * x.C, (last - first) * x.W, x.H * x.W};
}

// t [n rows][columns][L] to the planes of `count` tiles, the first at column `column`, `pitch` columns apart.
template <class F>
inline void input_rows(const float* t, std::int64_t columns, std::int64_t column, std::int64_t pitch,
                       std::int64_t count, float* v, std::int64_t plane) {
  for (std::int64_t tile = 0; tile < count; ++tile, column += pitch, v += L)
#pragma GCC unroll 1
    for (int i = 0; i < F::n; ++i) {
      Vec d[F::n], out[F::n];
#pragma GCC unroll 7
      for (int j = 0; j < F::n; ++j) d[j] = load(t + (i * columns + column + j) * L);
      F::input(d, out);
#pragma GCC unroll 7
      for (int j = 0; j < F::n; ++j) store(v + (i * F::n + j) * plane, out[j]);
    }
}

// V of one block of channels, for image `image` (counted in the block).
template <class F, class In>
inline void transform_input(const In& x, const Blocks& blocks, const Block& b, std::int64_t image,
                            std::int64_t channel_block, const Operand& operand, float* v, float* scratch) {
  const std::int64_t rows = reach(blocks.rows, b.row, b.rows, F::n),
                     columns = reach(blocks.columns, b.column, b.columns, F::n);
  const std::int64_t p0 = blocks.rows.start(b.row), q0 = blocks.columns.start(b.column);
  float *strip = scratch, *t = scratch + rows * columns * L;
  load_strip(x, b.image + image, channel_block * L, p0 - x.top, rows, q0 - x.left, columns, strip);
  for (std::int64_t row = 0; row < b.rows; ++row) {
    const float* from = strip + (blocks.rows.start(b.row + row) - p0) * columns * L;
    for (std::int64_t column = 0; column < columns; ++column) {
      Vec d[F::n], out[F::n];
#pragma GCC unroll 7
      for (int i = 0; i < F::n; ++i) d[i] = load(from + (i * columns + column) * L);
      F::input(d, out);
#pragma GCC unroll 7
      for (int i = 0; i < F::n; ++i) store(t + (i * columns + column) * L, out[i]);
    }
    std::int64_t wide, narrow;
    b.numbers(image, row, wide, narrow);
    input_rows<F>(t, columns, 0, F::m, b.wide_columns, operand.at(v, channel_block, wide), operand.plane);
    input_rows<F>(t, columns, blocks.columns.start(b.column + b.wide_columns) - q0, F::m - 1,
                  b.narrow_columns(), operand.at(v, channel_block, narrow), operand.plane);
  }
}

// A dy of one axis; outputs beyond `extent` belong to the next tile and count as zero.
template <class F>
[[gnu::always_inline]] inline void dout_line(const float* from, std::int64_t step, std::int64_t extent,
                                             Vec (&out)[F::n]) {
  Vec dy[F::m];
  if (extent == F::m) {
#pragma GCC unroll 5
    for (int i = 0; i < F::m; ++i) dy[i] = load(from + i * step);
  } else {
#pragma GCC unroll 5
    for (int i = 0; i < F::m; ++i) dy[i] = i < extent ? load(from + i * step) : Vec{};
  }
  F::dout(dy, out);
}

// D of one block of channels of dout, for one image of the block. Returns the sum of dout over its pixels.
template <class F>
inline Vec transform_dout(const Images& x, const Blocks& blocks, const Block& b, std::int64_t image,
                          std::int64_t channel_block, const Operand& operand, float* v, float* scratch) {
  const std::int64_t p0 = blocks.rows.start(b.row), q0 = blocks.columns.start(b.column);
  const std::int64_t last_row = b.row + b.rows - 1, last_column = b.column + b.columns - 1;
  const std::int64_t rows = blocks.rows.start(last_row) + blocks.rows.extent(last_row) - p0;
  const std::int64_t columns = blocks.columns.start(last_column) + blocks.columns.extent(last_column) - q0;
  float *strip = scratch, *t = scratch + rows * columns * L;
  load_strip(x, b.image + image, channel_block * L, p0, rows, q0, columns, strip);
  for (std::int64_t row = 0; row < b.rows; ++row) {
    const float* from = strip + (blocks.rows.start(b.row + row) - p0) * columns * L;
    for (std::int64_t column = 0; column < columns; ++column) {
      Vec out[F::n];
      dout_line<F>(from + column * L, columns * L, blocks.rows.extent(b.row + row), out);
#pragma GCC unroll 7
      for (int i = 0; i < F::n; ++i) store(t + (i * columns + column) * L, out[i]);
    }
    std::int64_t wide, narrow;
    b.numbers(image, row, wide, narrow);
    for (std::int64_t column = 0; column < b.columns; ++column) {
      const std::int64_t tile = column < b.wide_columns ? wide + column : narrow + column - b.wide_columns;
      const float* tile_t = t + (blocks.columns.start(b.column + column) - q0) * L;
      float* to = operand.at(v, channel_block, tile);
      for (int i = 0; i < F::n; ++i) {
        Vec out[F::n];
        dout_line<F>(tile_t + i * columns * L, L, blocks.columns.extent(b.column + column), out);
#pragma GCC unroll 7
        for (int j = 0; j < F::n; ++j) store(to + (i * F::n + j) * operand.plane, out[j]);
      }
    }
  }
  Vec sum{};
  for (std::int64_t i = 0; i < rows * columns; ++i) sum += load(strip + i * L);
  return sum;
}

}  // namespace weft::cpu::WEFT_ISA
