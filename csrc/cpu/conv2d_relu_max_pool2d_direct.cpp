// Convolution with bias, ReLU and 2x2 max-pooling in registers: the convolution's own output is never stored.
//
// The four sums of a pooling window lie in four registers of the same lanes, so that pooling is a comparison
// of registers. Two ways, chosen by which fills its lanes better:
//
//   lanes are output channels     weights [c][r][s][lane]; a tile is two rows of 2 NQ columns. Each pixel is
//                                 broadcast once for all the products that need it
//   lanes are pooled positions    of one row. The image is split into its four parities (even and odd rows
//                                 and columns): what one window position needs lies together. A tile is KB
//                                 output channels x 4 window positions; each weight is broadcast
//
// Each sum adds its products in the order c, r, s and then the bias, as conv2d_direct.cpp does: the same
// bits.
#include "cpu/conv2d_relu_max_pool2d_direct.h"

#include "cpu/conv2d_relu_max_pool2d_window.h"
#include "cpu/conv2d_winograd/transpose.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr int width = lanes_of<float>;
using Ints = WindowCodes;
typedef std::uint8_t Bytes __attribute__((vector_size(width), aligned(1), may_alias));

constexpr std::int64_t scratch_limit = 512 * 1024;  // bytes for one image: it should stay in the L2 cache

#define WEFT_INLINE [[gnu::always_inline]] inline

// A problem with its image padded: pixel (h, w) of channel c at c plane + h pitch + w.
struct Problem {
  const Conv2dParams& p;
  const PoolWindow& pool;
  const float* weights;
  const float* bias;  // round_up(K, lanes), zero where there is none
};

std::int64_t round_up(std::int64_t n, std::int64_t to) { return ceil_div(n, to) * to; }

// --- lanes are output channels ---

constexpr int max_columns = vector_registers == 32 ? 5 : vector_bytes == 32 ? 3 : 2;

// top += pixel * weight[s] for a row of pixels x_top, bottom += alike for x_bottom; either may be left out.
template <int S, int NQ, bool with_top, bool with_bottom>
WEFT_INLINE void add_row(Vec (&top)[2 * NQ], Vec (&bottom)[2 * NQ], const float* x_top, const float* x_bottom,
                         const float* top_weights, const float* bottom_weights) {
  const Vec* wt = reinterpret_cast<const Vec*>(top_weights);
  const Vec* wb = reinterpret_cast<const Vec*>(bottom_weights);
#pragma GCC unroll 32
  for (int w = 0; w < 2 * NQ + S - 1; ++w) {
    const Vec pixel_top = broadcast(x_top[w]), pixel_bottom = broadcast(x_bottom[w]);
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
      const int q = w - s;
      if (q < 0 || q >= 2 * NQ) continue;
      if constexpr (with_top) top[q] += pixel_top * wt[s];
      if constexpr (with_bottom) bottom[q] += pixel_bottom * wb[s];
    }
  }
}

// NQ pooled columns of one pooled row, for one vector of output channels; values and codes: [column][lane].
template <int S, int NQ>
void outputs_tile(const Problem& f, const float* x, std::int64_t pitch, std::int64_t plane,
                  const float* weights, const float* bias, float* values, std::int32_t* codes) {
  Vec top[2 * NQ] = {}, bottom[2 * NQ] = {};
  constexpr std::int64_t row = S * width;
  const std::int64_t R = f.p.R, last = f.p.C - 1;
  add_row<S, NQ, true, false>(top, bottom, x, x, weights, weights);
  for (std::int64_t c = 0;; ++c, weights += R * row, x += plane) {
    for (std::int64_t r = 1; r < R; ++r)
      add_row<S, NQ, true, true>(top, bottom, x + r * pitch, x + r * pitch, weights + r * row,
                                 weights + (r - 1) * row);
    if (c == last) break;
    // The last row of pixels is the lower sums' alone, the next channel's first one the upper sums'.
    add_row<S, NQ, true, true>(top, bottom, x + plane, x + R * pitch, weights + R * row,
                               weights + (R - 1) * row);
  }
  add_row<S, NQ, false, true>(top, bottom, x, x + R * pitch, weights, weights + (R - 1) * row);
  const Vec b = load(bias);
#pragma GCC unroll 8
  for (int j = 0; j < NQ; ++j) {
    Ints code;
    store(values + j * width,
          pool_window({top[2 * j] + b, top[2 * j + 1] + b, bottom[2 * j] + b, bottom[2 * j + 1] + b}, code));
    *reinterpret_cast<Ints*>(codes + j * width) = code;
  }
}

using OutputsTile = void (*)(const Problem&, const float*, std::int64_t, std::int64_t, const float*,
                             const float*, float*, std::int32_t*);
template <int S>
constexpr OutputsTile outputs_tiles[] = {nullptr,
                                         outputs_tile<S, 1>,
                                         outputs_tile<S, 2>,
                                         outputs_tile<S, max_columns >= 3 ? 3 : 2>,
                                         outputs_tile<S, max_columns >= 4 ? 4 : 2>,
                                         outputs_tile<S, max_columns >= 5 ? 5 : 2>};

const OutputsTile* outputs_tiles_for(std::int64_t S) {
  switch (S) {
    case 2: return outputs_tiles<2>;
    case 3: return outputs_tiles<3>;
    case 5: return outputs_tiles<5>;
    case 7: return outputs_tiles<7>;
    default: return nullptr;
  }
}

// The first `count` numbers of a vector. No template: its parameter would lose the types' alignment.
WEFT_INLINE void store_some(Vec v, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = v[i];
}
WEFT_INLINE void store_some(Bytes v, std::uint8_t* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = v[i];
}

// From [position][lane] to the planes of `count` output channels, a square of registers at a time. A square
// at the end of a plane runs over into the next plane, whose own numbers are written after it: so the squares
// go from the end to the beginning. What would run over
// the last plane's end is cut.
void store_lanes(const float* values, const std::int32_t* codes, std::int64_t positions, std::int64_t count,
                 float* out, std::uint8_t* winner) {
  for (std::int64_t o = (positions - 1) / width * width; o >= 0; o -= width) {
    Vec value[width], code[width];
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) value[i] = load(values + (o + i) * width);
    transpose(value);
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) code[i] = load(reinterpret_cast<const float*>(codes) + (o + i) * width);
    transpose(code);
#pragma GCC unroll 16
    for (int k = 0; k < width; ++k) {
      const Bytes bytes = __builtin_convertvector(__builtin_bit_cast(Ints, code[k]), Bytes);
      if (k < count && k * positions + o + width <= count * positions) {
        store(out + k * positions + o, value[k]);
        *reinterpret_cast<Bytes*>(winner + k * positions + o) = bytes;
      } else if (k < count) {
        store_some(value[k], out + k * positions + o, positions - o);
        store_some(bytes, winner + k * positions + o, positions - o);
      }
    }
  }
}

void pad_image(const Conv2dParams& p, const float* x, float* padded) {
  const std::int64_t Hp = p.H + p.pad_top + p.pad_bottom, Wp = p.W + p.pad_left + p.pad_right;
  for (std::int64_t c = 0; c < p.C; ++c)
    for (std::int64_t h = 0; h < p.H; ++h) {
      const float* from = x + (c * p.H + h) * p.W;
      float* to = padded + (c * Hp + p.pad_top + h) * Wp + p.pad_left;
      for (std::int64_t w = 0; w < p.W; ++w) to[w] = from[w];
    }
}

void zero(float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = 0;
}

void by_outputs(const Problem& f, const Conv2dReluMaxPool2dArgs& a, std::int64_t first, std::int64_t last) {
  const Conv2dParams& p = f.p;
  const OutputsTile* tiles = outputs_tiles_for(p.S);
  const std::int64_t Hp = p.H + p.pad_top + p.pad_bottom, Wp = p.W + p.pad_left + p.pad_right;
  const std::int64_t positions = f.pool.PP * f.pool.PQ, size = p.C * Hp * Wp;
  const bool padded = Hp != p.H || Wp != p.W;
  const std::int64_t results = round_up(positions, width) * width;
  const Scratch<float> copy(padded ? size : 0), values(results);
  const Scratch<std::int32_t> codes(results);
  if (padded) zero(copy.data(), size);
  // Columns are cut into tiles of nearly equal size.
  const std::int64_t cuts = ceil_div(f.pool.PQ, max_columns);
  for (std::int64_t n = first; n < last; ++n) {
    const float* x = static_cast<const float*>(a.x) + n * p.C * p.H * p.W;
    if (padded) pad_image(p, x, copy.data());
    const float* image = padded ? copy.data() : x;
    for (std::int64_t k = 0; k < p.K; k += width) {
      const float* weights = f.weights + k * p.C * p.R * p.S;
      for (std::int64_t i = 0; i < f.pool.PP; ++i)
        for (std::int64_t cut = 0; cut < cuts; ++cut) {
          const std::int64_t j = cut * f.pool.PQ / cuts, end = (cut + 1) * f.pool.PQ / cuts;
          const std::int64_t at = (i * f.pool.PQ + j) * width;
          tiles[end - j](f, image + 2 * i * Wp + 2 * j, Wp, Hp * Wp, weights, f.bias + k, values.data() + at,
                         codes.data() + at);
        }
      store_lanes(values.data(), codes.data(), positions, min_of<std::int64_t>(width, p.K - k),
                  static_cast<float*>(a.out) + (n * p.K + k) * positions,
                  a.winner + (n * p.K + k) * positions);
    }
  }
}

// --- lanes are pooled positions ---

constexpr int max_block = vector_registers == 32 ? 6 : 3;

// sum += x * weight, the weight from memory. GCC would load the broadcasts ahead and spill them.
WEFT_INLINE void add_product(Vec& sum, const Vec& x, const float& weight) {
#if defined(WEFT_ISA_avx512)
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(x), "m"(weight));
#else
  sum += x * weight;
#endif
}

// The four parities of a padded image: [c][row parity][column parity][row][pitch].
struct Parities {
  explicit Parities(const Conv2dParams& p)
      : rows(ceil_div(p.H + p.pad_top + p.pad_bottom, 2)),
        pitch(round_up(ceil_div(p.W + p.pad_left + p.pad_right, 2), width) + width),
        plane(rows * pitch) {}
  std::int64_t rows, pitch, plane;
};

// Splits an image; what lies outside stays as it is, zero.
void split(const Conv2dParams& p, const Parities& to, const float* x, float* planes) {
  for (std::int64_t c = 0; c < p.C; ++c)
    for (std::int64_t h = 0; h < p.H; ++h, x += p.W) {
      const std::int64_t row = h + p.pad_top, first = p.pad_left & 1;
      float* base = planes + ((c * 2 + (row & 1)) * 2) * to.plane + (row >> 1) * to.pitch;
      float* even = base + first * to.plane + (p.pad_left >> 1);  // where x[0], x[2], ... go
      float* odd = base + (1 - first) * to.plane + ((p.pad_left + 1) >> 1);
      for (std::int64_t w = 0; w < p.W / 2; ++w) {
        even[w] = x[2 * w];
        odd[w] = x[2 * w + 1];
      }
      if (p.W & 1) even[p.W / 2] = x[p.W - 1];
    }
}

// One row of pixels of one channel, seen by the upper (U = 0) and lower window rows that want it. upper,
// lower: the weights [s][KB] of the kernel row that each of them meets it with.
template <int KB, bool with_upper, bool with_lower>
WEFT_INLINE void add_parity_row(Vec (&sum)[KB][4], const float* x, std::int64_t plane, std::int64_t S,
                                const float* upper, const float* lower) {
  for (std::int64_t s = 0; s <= S; ++s) {
    const Vec v = *reinterpret_cast<const Vec*>(x + (s & 1) * plane + (s >> 1));
    if (s < S) {
#pragma GCC unroll 6
      for (int k = 0; k < KB; ++k) {
        if constexpr (with_upper) add_product(sum[k][0], v, upper[s * KB + k]);
        if constexpr (with_lower) add_product(sum[k][2], v, lower[s * KB + k]);
      }
    }
    if (s > 0) {
#pragma GCC unroll 6
      for (int k = 0; k < KB; ++k) {
        if constexpr (with_upper) add_product(sum[k][1], v, upper[(s - 1) * KB + k]);
        if constexpr (with_lower) add_product(sum[k][3], v, lower[(s - 1) * KB + k]);
      }
    }
  }
}

// A vector of pooled positions from (i, j) on, for KB output channels. out, winner: KB planes `stride` apart.
// The last vector of a row runs over its end; the next row is written after it.
template <int KB>
void positions_tile(const Problem& f, const Parities& from, const float* planes, const float* weights,
                    const float* bias, float* out, std::uint8_t* winner, std::int64_t stride) {
  Vec sum[KB][4] = {};
  const std::int64_t R = f.p.R, S = f.p.S, row = S * KB;
  for (std::int64_t c = 0; c < f.p.C; ++c, planes += 4 * from.plane, weights += R * row) {
    add_parity_row<KB, true, false>(sum, planes, from.plane, S, weights, weights);
    for (std::int64_t r = 1; r < R; ++r)
      add_parity_row<KB, true, true>(sum, planes + (r & 1) * 2 * from.plane + (r >> 1) * from.pitch,
                                     from.plane, S, weights + r * row, weights + (r - 1) * row);
    add_parity_row<KB, false, true>(sum, planes + (R & 1) * 2 * from.plane + (R >> 1) * from.pitch,
                                    from.plane, S, weights, weights + (R - 1) * row);
  }
#pragma GCC unroll 6
  for (int k = 0; k < KB; ++k) {
    const Vec b = broadcast(bias[k]);
    Ints code;
    *reinterpret_cast<Vec*>(out + k * stride) =
        pool_window({sum[k][0] + b, sum[k][1] + b, sum[k][2] + b, sum[k][3] + b}, code);
    *reinterpret_cast<Bytes*>(winner + k * stride) = __builtin_convertvector(code, Bytes);
  }
}

using PositionsTile = void (*)(const Problem&, const Parities&, const float*, const float*, const float*,
                               float*, std::uint8_t*, std::int64_t);
constexpr PositionsTile positions_tiles[] = {nullptr,
                                             positions_tile<1>,
                                             positions_tile<2>,
                                             positions_tile<3>,
                                             positions_tile<max_block == 6 ? 4 : 1>,
                                             positions_tile<max_block == 6 ? 5 : 1>,
                                             positions_tile<max_block == 6 ? 6 : 1>};

void by_positions(const Problem& f, const Conv2dReluMaxPool2dArgs& a, std::int64_t first, std::int64_t last) {
  const Conv2dParams& p = f.p;
  const Parities split_image(p);
  const std::int64_t positions = f.pool.PP * f.pool.PQ, stride = positions + width;
  const std::int64_t size = p.C * 4 * split_image.plane + width;
  const Scratch<float> planes(size), values(max_block * stride);
  const Scratch<std::uint8_t> codes(max_block * stride);
  zero(planes.data(), size);
  const std::int64_t blocks = ceil_div(p.K, max_block);
  for (std::int64_t n = first; n < last; ++n) {
    split(p, split_image, static_cast<const float*>(a.x) + n * p.C * p.H * p.W, planes.data());
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t k = b * p.K / blocks, count = (b + 1) * p.K / blocks - k;
      const float* weights = f.weights + k * p.C * p.R * p.S;
      for (std::int64_t i = 0; i < f.pool.PP; ++i)
        for (std::int64_t j = 0; j < f.pool.PQ; j += width)
          positions_tiles[count](f, split_image, planes.data() + i * split_image.pitch + j, weights,
                                 f.bias + k, values.data() + i * f.pool.PQ + j,
                                 codes.data() + i * f.pool.PQ + j, stride);
      float* out = static_cast<float*>(a.out) + (n * p.K + k) * positions;
      std::uint8_t* winner = a.winner + (n * p.K + k) * positions;
      for (std::int64_t plane = 0; plane < count; ++plane)
        for (std::int64_t o = 0; o < positions; ++o) {
          out[plane * positions + o] = values[plane * stride + o];
          winner[plane * positions + o] = codes[plane * stride + o];
        }
    }
  }
}

// --- the choice ---

// weight[k][c][r][s] to [block][c][r][s][k in block]: blocks of `block` from begin(b) on, zero beyond K.
void pack(const Conv2dParams& p, std::int64_t begin, std::int64_t count, std::int64_t lanes,
          const float* weight, float* to) {
  const std::int64_t taps = p.C * p.R * p.S;
  for (std::int64_t t = 0; t < taps; ++t)
    for (std::int64_t k = 0; k < lanes; ++k) *to++ = k < count ? weight[(begin + k) * taps + t] : 0;
}

}  // namespace

bool conv2d_relu_max_pool2d_direct(const Conv2dReluMaxPool2dArgs& a) {
  const Conv2dParams& p = a.p;
  const PoolWindow& pool = a.pool;
  if (a.dtype != DType::float32 || p.groups != 1 || p.stride_h != 1 || p.stride_w != 1 || p.dilation_h != 1 ||
      p.dilation_w != 1 || pool.h != 2 || pool.w != 2 || p.C == 0)
    return false;
  if (p.R == 3 && p.S == 3 && p.C >= 32 && p.K >= 32) return false;  // fewer multiplications by Winograd
  const std::int64_t Hp = p.H + p.pad_top + p.pad_bottom, Wp = p.W + p.pad_left + p.pad_right;
  if (4 * (p.C * Hp * (Wp + 4 * width) + 2 * width * pool.PP * pool.PQ) > scratch_limit) return false;
  // Which share of the lanes does work.
  const double outputs = static_cast<double>(p.K) / static_cast<double>(round_up(p.K, width));
  const double positions = static_cast<double>(pool.PQ) / static_cast<double>(round_up(pool.PQ, width));
  const bool lanes_are_outputs = outputs >= positions && outputs_tiles_for(p.S);
  const auto* weight = static_cast<const float*>(a.weight);
  const std::int64_t taps = p.C * p.R * p.S, padded = round_up(p.K, width);
  const Scratch<float> packed(padded * taps + padded);
  float* bias = packed.data() + padded * taps;
  for (std::int64_t k = 0; k < padded; ++k)
    bias[k] = a.bias && k < p.K ? static_cast<const float*>(a.bias)[k] : 0;
  if (lanes_are_outputs) {
    for (std::int64_t k = 0; k < p.K; k += width)
      pack(p, k, p.K - k, width, weight, packed.data() + k * taps);
  } else {
    const std::int64_t blocks = ceil_div(p.K, max_block);
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t k = b * p.K / blocks, count = (b + 1) * p.K / blocks - k;
      pack(p, k, count, count, weight, packed.data() + k * taps);
    }
  }
  const Problem f{p, pool, packed.data(), bias};
  // Images are made one by one: how many a thread takes at once changes no bit.
  const std::int64_t pieces = min_of<std::int64_t>(p.N, 4 * num_threads()),
                     work = p.N * p.K * p.P * p.Q * taps / 8;
  parallel_tasks(pieces, work, [&](std::int64_t piece) {
    const std::int64_t first = piece * p.N / pieces, last = (piece + 1) * p.N / pieces;
    lanes_are_outputs ? by_outputs(f, a, first, last) : by_positions(f, a, first, last);
  });
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
