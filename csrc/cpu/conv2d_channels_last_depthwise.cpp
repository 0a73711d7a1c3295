// Depthwise convolution of images that lie channels last, 3x3, stride 1 or 2, padding 1, float32: the windows
// of MobileNet's layers. Lanes are channels, so there is no border within a vector and nothing to turn round.
//
// A tile is a few rows and columns of output pixels; its sums are registers while a loop goes over the
// channels. An input vector of the tile is loaded once for all the outputs that it belongs to: with 4 x 4
// pixels, 36 loads (and 9 of weights) for 144 multiplications. At the image's border a tile leaves its first
// or last row or column out: more than that never lies outside. The tiles of a band of rows are walked along
// the rows; the rows that the next band adds are asked for meanwhile, so that they are in the second-level
// cache when it begins.
//
// The gradient by the input is for stride 1 the same with the filter turned round; for stride 2 a pixel of
// dout gives to four of dx. The gradient by the weight keeps 9 sums for each channel, in partial sums of a
// piece of rows that depends on the problem alone, added in order.
#include "cpu/conv2d_channels_last.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/simd/lanes.h"
#include "cpu/simd/stream.h"

namespace weft::cpu::WEFT_ISA {

namespace {

using Vec = VecOf<float>::type;
constexpr int L = lanes_of<float>;
constexpr std::int64_t grain = 16384;             // elements of a task
constexpr std::int64_t piece_elements = 1 << 17;  // of a partial sum of dw

// Rows of a tile: the sums, the nine weights and an input fit the registers.
constexpr int tile_columns = 4;
template <int stride>
constexpr int tile_rows = vector_registers < 32 ? 1
                          : stride == 1         ? 4
                                                : 2;

[[gnu::always_inline]] inline Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
[[gnu::always_inline]] inline void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }

// Vectors, whole or the last one of the channels.
struct Whole {
  bool streams;  // past the cache
  [[gnu::always_inline]] Vec load(const float* p) const { return WEFT_ISA::load(p); }
  [[gnu::always_inline]] void store(float* p, Vec v) const {
    if (streams)
      stream_line(p, v);
    else
      WEFT_ISA::store(p, v);
  }
};
struct Part {
  std::int64_t count;
  [[gnu::always_inline]] Vec load(const float* p) const { return load_some<float>(p, count); }
  [[gnu::always_inline]] void store(float* p, Vec v) const { store_some<float>(p, v, count); }
};

// f(first channel, Whole or Part) for the vectors of C channels.
template <class F>
[[gnu::always_inline]] inline void for_channels(std::int64_t C, bool streams, F&& f) {
  std::int64_t c = 0;
  for (; c + L <= C; c += L) f(c, Whole{streams});
  if (c < C) f(c, Part{C - c});
}

[[gnu::always_inline]] inline std::int64_t padded(std::int64_t C) { return ceil_div(C, L) * L; }

// Images of height x width pixels of C channels.
template <class T>
struct Images {
  T* data;
  std::int64_t height, width, C;
  bool streams = false;  // of results: stored past the cache
  [[gnu::always_inline]] T* at(std::int64_t n, std::int64_t h, std::int64_t w) const {
    return data + ((n * height + h) * width + w) * C;
  }
};
using Input = Images<const float>;

// The input under a tile's windows. Its first pixel may lie outside, and is then not read.
struct Window {
  const float* first;
  std::int64_t row, column;       // steps
  bool top, bottom, left, right;  // whether the first and the last row and column are left out
  const float* ahead;             // this tile's part of the rows that the next band adds
  [[gnu::always_inline]] const float* at(int i, int j) const { return first + i * row + j * column; }
};

template <int stride, int rows, int columns>
[[gnu::always_inline]] inline Window window(const Input& x, std::int64_t n, std::int64_t p, std::int64_t q) {
  const std::int64_t top = p * stride - 1, left = q * stride - 1;
  const bool below = top + (rows - 1) * stride + 3 > x.height;
  const bool beside = left + (columns - 1) * stride + 3 > x.width;
  const float* next = x.at(n, top + (rows - 1) * stride + 3, 0) + q * rows * stride * stride * x.C;
  return {x.at(n, top, left), x.width * x.C, x.C, top < 0, below, left < 0, beside, next};
}

// f(i, j, vector) for each input vector of a window of rows x columns. edge: some may be left out.
template <int rows, int columns, bool edge, class Width, class F>
[[gnu::always_inline]] inline void for_inputs(const Window& x, std::int64_t c, Width vector, F&& f) {
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    if (edge && ((i == 0 && x.top) || (i == rows - 1 && x.bottom))) continue;
#pragma GCC unroll 16
    for (int j = 0; j < columns; ++j) {
      if (edge && ((j == 0 && x.left) || (j == columns - 1 && x.right))) continue;
      f(i, j, vector.load(x.at(i, j) + c));
    }
  }
}

// Asks for `lines` vectors for each vector of a tile: the tiles of a band ask, one after the other and in the
// order of memory, for the rows that the next band adds.
template <int lines>
[[gnu::always_inline]] inline void ask_for(const float* ahead, std::int64_t c) {
#pragma GCC unroll 32
  for (int k = 0; k < lines; ++k) __builtin_prefetch(ahead + c * lines + k * L, 0, 2);
}

// f(Count<columns>, q) for the tiles of a row of Q output pixels.
template <int n>
struct Count {
  static constexpr int value = n;
};
template <class F>
[[gnu::always_inline]] inline void for_tiles(std::int64_t Q, F&& f) {
  std::int64_t q = 0;
  for (; q + tile_columns <= Q; q += tile_columns) f(Count<tile_columns>(), q);
  for (; q + 2 <= Q; q += 2) f(Count<2>(), q);
  for (; q < Q; ++q) f(Count<1>(), q);
}
// f(Count<rows>, p) for the bands from row p up to `end`.
template <int most, class F>
[[gnu::always_inline]] inline void for_bands(std::int64_t p, std::int64_t end, F&& f) {
  for (; p + most <= end; p += most) f(Count<most>(), p);
  if constexpr (most > 1) for_bands<most / 2>(p, end, f);
}

// The filters with the channels innermost, [9][padded C], and the bias as a tenth row. turned: taps in
// reverse.
struct Packed {
  Packed(const void* weight, const void* bias, std::int64_t C, bool turned)
      : width(padded(C)), memory(10 * width) {
    const auto *w = static_cast<const float*>(weight), *b = static_cast<const float*>(bias);
    for (std::int64_t c = 0; c < width; ++c) {
      for (int t = 0; t < 9; ++t) memory[t * width + c] = c < C ? w[c * 9 + (turned ? 8 - t : t)] : 0.0f;
      memory[9 * width + c] = b && c < C ? b[c] : 0.0f;
    }
  }
  [[gnu::always_inline]] Vec at(int t, std::int64_t c) const { return load(memory.data() + t * width + c); }
  std::int64_t width;
  Scratch<float> memory;
};

// --- forward, and dx for stride 1

template <int stride, int rows, int columns, bool edge, class Width>
[[gnu::always_inline]] inline void forward_vector(const Window& x, const Packed& weight, std::int64_t c,
                                                  bool relu, float* out, std::int64_t row,
                                                  std::int64_t column, Width vector) {
  Vec w[9], sum[rows][columns];
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) w[t] = weight.at(t, c);
  const Vec bias = weight.at(9, c), none = {};
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j) sum[i][j] = bias;
  for_inputs<(rows - 1) * stride + 3, (columns - 1) * stride + 3, edge>(
      x, c, vector, [&](int a, int b, Vec v) {
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
          for (int j = 0; j < columns; ++j) {
            const int r = a - i * stride, s = b - j * stride;
            if (r >= 0 && r < 3 && s >= 0 && s < 3) sum[i][j] += w[r * 3 + s] * v;
          }
      });
  ask_for<rows * stride * columns * stride>(x.ahead, c);
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j) {
      Vec y = sum[i][j];
      if (relu) y = y <= none ? none : y;
      vector.store(out + i * row + j * column + c, y);
    }
}

// A tile of rows x columns output pixels.
template <int stride, int rows, int columns>
void forward_tile(const Input& x, const Packed& weight, const Images<float>& out, bool relu, std::int64_t n,
                  std::int64_t p, std::int64_t q) {
  const Window in = window<stride, rows, columns>(x, n, p, q);
  float* to = out.at(n, p, q);
  const std::int64_t row = out.width * out.C, column = out.C;
  if (in.top || in.bottom || in.left || in.right)
    for_channels(out.C, out.streams, [&](std::int64_t c, auto vector) {
      forward_vector<stride, rows, columns, true>(in, weight, c, relu, to, row, column, vector);
    });
  else
    for_channels(out.C, out.streams, [&](std::int64_t c, auto vector) {
      forward_vector<stride, rows, columns, false>(in, weight, c, relu, to, row, column, vector);
    });
}

template <int stride>
void forward(const Input& x, const Packed& weight, const Images<float>& out, bool relu, std::int64_t N) {
  constexpr int most = tile_rows<stride>;
  const std::int64_t bands = ceil_div(out.height, most), band = most * out.width * out.C;
  parallel_ranges(N * bands, max_of<std::int64_t>(1, grain / band), N * bands * band * 4,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      const std::int64_t n = i / bands, first = i % bands * most;
                      for_bands<most>(
                          first, min_of(out.height, first + most), [&](auto rows, std::int64_t p) {
                            for_tiles(out.width, [&](auto columns, std::int64_t q) {
                              forward_tile<stride, decltype(rows)::value, decltype(columns)::value>(
                                  x, weight, out, relu, n, p, q);
                            });
                          });
                    }
                    if (out.streams) stream_end();
                  });
}

// --- dx for stride 2: row 2p + a, column 2q + b from dout[p..p+1][q..q+1]

// Of a row of `columns` pixels of dout. edge: the pixels to the right or below, or dx's last row or column,
// may not exist.
template <int columns, bool edge, class Width>
[[gnu::always_inline]] inline void input_vector(const Window& dout, const Packed& weight, std::int64_t c,
                                                float* dx, std::int64_t row, std::int64_t column,
                                                bool odd_row, bool odd_column, Width vector) {
  Vec w[9];
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) w[t] = weight.at(t, c);
  const bool bottom = edge && dout.bottom;
  Vec left = vector.load(dout.at(0, 0) + c), below = bottom ? Vec{} : vector.load(dout.at(1, 0) + c);
#pragma GCC unroll 8
  for (int j = 0; j < columns; ++j) {
    const bool outside = edge && j == columns - 1 && dout.right, odd = !edge || j < columns - 1 || odd_column;
    const Vec right = outside ? Vec{} : vector.load(dout.at(0, j + 1) + c);
    const Vec corner = outside || bottom ? Vec{} : vector.load(dout.at(1, j + 1) + c);
    float* to = dx + 2 * j * column + c;
    vector.store(to, w[4] * left);
    if (odd) vector.store(to + column, outside ? w[5] * left : w[5] * left + w[3] * right);
    if (!edge || odd_row) {
      vector.store(to + row, bottom ? w[7] * left : w[7] * left + w[1] * below);
      Vec sum = w[8] * left;
      if (!outside) sum += w[6] * right;
      if (!bottom) sum += w[2] * below;
      if (!outside && !bottom) sum += w[0] * corner;
      if (odd) vector.store(to + row + column, sum);
    }
    left = right;
    below = corner;
  }
  ask_for<columns>(dout.ahead, c);
}

template <int columns>
void input_tile(const Input& dout, const Packed& weight, const Images<float>& dx, std::int64_t n,
                std::int64_t p, std::int64_t q) {
  const bool below = p + 1 == dout.height, beside = q + columns == dout.width;
  const Window from{dout.at(n, p, q), dout.width * dout.C, dout.C, false, below, false,
                    beside,           dout.at(n, p + 2, q)};
  float* to = dx.at(n, 2 * p, 2 * q);
  const std::int64_t row = dx.width * dx.C, column = dx.C;
  const bool odd_row = 2 * p + 1 < dx.height, odd_column = 2 * (q + columns) <= dx.width;
  if (from.bottom || from.right)
    for_channels(dx.C, dx.streams, [&](std::int64_t c, auto vector) {
      input_vector<columns, true>(from, weight, c, to, row, column, odd_row, odd_column, vector);
    });
  else
    for_channels(dx.C, dx.streams, [&](std::int64_t c, auto vector) {
      input_vector<columns, false>(from, weight, c, to, row, column, true, true, vector);
    });
}

void backward_input_2(const Input& dout, const Packed& weight, const Images<float>& dx, std::int64_t N) {
  const std::int64_t row = 2 * dx.width * dx.C;
  parallel_ranges(N * dout.height, max_of<std::int64_t>(1, grain / row), N * dout.height * row * 2,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i)
                      for_tiles(dout.width, [&](auto columns, std::int64_t q) {
                        input_tile<decltype(columns)::value>(dout, weight, dx, i / dout.height,
                                                             i % dout.height, q);
                      });
                    if (dx.streams) stream_end();
                  });
}

// --- dw and db

// sums [10][width] += the products of a tile.
template <int stride, int rows, int columns, bool edge, class Width>
[[gnu::always_inline]] inline void weight_vector(const Window& x, const float* dout, const float* dout_ahead,
                                                 std::int64_t row, std::int64_t column, float* sums,
                                                 std::int64_t width, std::int64_t c, Width vector) {
  Vec w[9], d[rows][columns], total = load(sums + 9 * width + c);
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) w[t] = load(sums + t * width + c);
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j) {
      d[i][j] = vector.load(dout + i * row + j * column + c);
      total += d[i][j];
    }
  store(sums + 9 * width + c, total);
  for_inputs<(rows - 1) * stride + 3, (columns - 1) * stride + 3, edge>(
      x, c, vector, [&](int a, int b, Vec v) {
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
          for (int j = 0; j < columns; ++j) {
            const int r = a - i * stride, s = b - j * stride;
            if (r >= 0 && r < 3 && s >= 0 && s < 3) w[r * 3 + s] += d[i][j] * v;
          }
      });
  ask_for<rows * stride * columns * stride>(x.ahead, c);
  ask_for<rows * columns>(dout_ahead, c);
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) store(sums + t * width + c, w[t]);
}

template <int stride, int rows, int columns>
void weight_tile(const Input& x, const Input& dout, float* sums, std::int64_t n, std::int64_t p,
                 std::int64_t q) {
  const Window in = window<stride, rows, columns>(x, n, p, q);
  const float *from = dout.at(n, p, q), *ahead = dout.at(n, p + rows, 0) + q * rows * dout.C;
  const std::int64_t row = dout.width * dout.C, column = dout.C, width = padded(dout.C);
  if (in.top || in.bottom || in.left || in.right)
    for_channels(dout.C, false, [&](std::int64_t c, auto vector) {
      weight_vector<stride, rows, columns, true>(in, from, ahead, row, column, sums, width, c, vector);
    });
  else
    for_channels(dout.C, false, [&](std::int64_t c, auto vector) {
      weight_vector<stride, rows, columns, false>(in, from, ahead, row, column, sums, width, c, vector);
    });
}

// The sums of rows p to `end` of image n.
template <int stride>
void weight_piece(const Input& x, const Input& dout, float* sums, std::int64_t n, std::int64_t p,
                  std::int64_t end) {
  for (std::int64_t i = 0; i < 10 * padded(x.C); ++i) sums[i] = 0;
  for_bands<tile_rows<stride>>(p, end, [&](auto rows, std::int64_t first) {
    for_tiles(dout.width, [&](auto columns, std::int64_t q) {
      weight_tile<stride, decltype(rows)::value, decltype(columns)::value>(x, dout, sums, n, first, q);
    });
  });
}

void backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const std::int64_t width = padded(p.C), size = 10 * width;
  const std::int64_t rows =
      min_of(p.P, max_of<std::int64_t>(1, piece_elements / (4 * p.Q * p.C)) * 4);  // whole bands
  const std::int64_t cuts = ceil_div(p.P, rows), pieces = p.N * cuts;
  const Scratch<float> sums(pieces * size);
  const Input x{static_cast<const float*>(a.x), p.H, p.W, p.C};
  const Input dout{static_cast<const float*>(a.dout), p.P, p.Q, p.C};
  parallel_tasks(pieces, p.N * p.P * p.Q * p.C * 4, [&](std::int64_t i) {
    const std::int64_t n = i / cuts, first = i % cuts * rows, end = min_of(p.P, first + rows);
    if (p.stride_h == 1)
      weight_piece<1>(x, dout, sums.data() + i * size, n, first, end);
    else
      weight_piece<2>(x, dout, sums.data() + i * size, n, first, end);
  });
  parallel_tasks(ceil_div(size, 256), pieces * size, [&](std::int64_t i) {
    float* to = sums.data();
    for (std::int64_t k = 1; k < pieces; ++k)
      for (std::int64_t j = i * 256; j < min_of(size, (i + 1) * 256); ++j) to[j] += to[k * size + j];
  });
  for (std::int64_t c = 0; c < p.C; ++c) {
    for (int t = 0; t < 9; ++t) static_cast<float*>(a.dw)[c * 9 + t] = sums[t * width + c];
    if (a.db) static_cast<float*>(a.db)[c] = sums[9 * width + c];
  }
}

// Whether the result is stored past the cache; numbers: of the arrays in use now, with x for the gradient by
// the weight that comes with dx.
bool streams(const void* result, std::int64_t C, std::int64_t numbers) {
  return stores_lines && C % L == 0 && is_line(result) && leaves_cache(4 * numbers);
}

bool takes(const Conv2dParams& p, DType dtype) {
  return dtype == DType::float32 && p.groups == p.C && p.K == p.C && p.R == 3 && p.S == 3 &&
         p.stride_h == p.stride_w && (p.stride_h == 1 || p.stride_h == 2) && p.pad_top == 1 &&
         p.pad_bottom == 1 && p.pad_left == 1 && p.pad_right == 1 && p.dilation_h == 1 && p.dilation_w == 1;
}

}  // namespace

bool conv2d_last_depthwise_forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype)) return false;
  const Packed weight(a.weight, a.bias, p.C, false);
  const Input x{static_cast<const float*>(a.x), p.H, p.W, p.C};
  const Images<float> out{static_cast<float*>(a.out), p.P, p.Q, p.C,
                          streams(a.out, p.C, p.N * (p.H * p.W + p.P * p.Q) * p.C)};
  const bool relu = a.activation == Activation::relu;
  p.stride_h == 1 ? forward<1>(x, weight, out, relu, p.N) : forward<2>(x, weight, out, relu, p.N);
  return true;
}

bool conv2d_last_depthwise_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype)) return false;
  const Packed weight(a.weight, nullptr, p.C, p.stride_h == 1);
  const Input dout{static_cast<const float*>(a.dout), p.P, p.Q, p.C};
  const Images<float> dx{static_cast<float*>(a.dx), p.H, p.W, p.C,
                         streams(a.dx, p.C, p.N * (2 * p.H * p.W + p.P * p.Q) * p.C)};
  p.stride_h == 1 ? forward<1>(dout, weight, dx, false, p.N) : backward_input_2(dout, weight, dx, p.N);
  return true;
}

bool conv2d_last_depthwise_backward_weight(const Conv2dBackwardWeightArgs& a) {
  if (!takes(a.p, a.dtype)) return false;
  backward_weight(a);
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
