// Convolution with stride 1 whose lanes are output channels, for small images of few channels (LeNet's second
// layer): no lane works for a position beyond the end of a row.
//
//   forward   weights [c][r][s][lane]; registers: two rows of NQ columns. Each pixel is broadcast once for
//             the products of all its taps; the sums leave the registers turned, a square at a time
//   dw        dout with the channels last, [p][q][lane]; registers: NR x S taps of one input channel. Each
//             pixel is broadcast from memory. No sum across lanes
//
// Sums go in the order c, r, s (forward), and over the positions of an image and then the images of a group
// (dw); the groups depend on the problem alone and are added in order.
#include "cpu/conv2d_outputs.h"

#include "cpu/conv2d_winograd/transpose.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/simd/some.h"

namespace weft::cpu::WEFT_ISA {

namespace {

#define WEFT_INLINE [[gnu::always_inline]] inline

constexpr int width = lanes_of<float>;
constexpr std::int64_t scratch_limit = 256 * 1024;  // bytes for one image
constexpr int max_columns = vector_registers == 32 ? 10 : vector_bytes == 32 ? 6 : 4;

std::int64_t round_up(std::int64_t n, std::int64_t to) { return ceil_div(n, to) * to; }

bool takes(const Conv2dParams& p, DType dtype) {
  const std::int64_t Hp = p.H + p.pad_top + p.pad_bottom, Wp = p.W + p.pad_left + p.pad_right;
  return dtype == DType::float32 && p.groups == 1 && p.stride_h == 1 && p.stride_w == 1 &&
         p.dilation_h == 1 && p.dilation_w == 1 && (p.S == 3 || p.S == 5 || p.S == 7) && p.C > 0 && p.P > 0 &&
         p.Q > 0 && 4 * p.K >= 3 * round_up(p.K, width) &&
         4 * (p.C * Hp * Wp + p.P * p.Q * width) <= scratch_limit;
}

// An image with its padding: the image itself where there is none.
struct Padded {
  explicit Padded(const Conv2dParams& p)
      : p(p),
        rows(p.H + p.pad_top + p.pad_bottom),
        pitch(p.W + p.pad_left + p.pad_right),
        any(rows != p.H || pitch != p.W),
        copy(any ? p.C * rows * pitch : 0) {
    if (any)
      for (std::int64_t i = 0; i < p.C * rows * pitch; ++i) copy[i] = 0;
  }
  const float* of(const float* x) const {
    if (!any) return x;
    for (std::int64_t c = 0; c < p.C; ++c)
      for (std::int64_t h = 0; h < p.H; ++h) {
        const float* from = x + (c * p.H + h) * p.W;
        float* to = copy.data() + (c * rows + p.pad_top + h) * pitch + p.pad_left;
        for (std::int64_t w = 0; w < p.W; ++w) to[w] = from[w];
      }
    return copy.data();
  }
  const Conv2dParams& p;
  std::int64_t rows, pitch;
  bool any;
  Scratch<float> copy;
};

// sum += x * weight, the pixel from memory.
WEFT_INLINE void add_product(Vec& sum, const Vec& d, const float& pixel) {
#if defined(WEFT_ISA_avx512)
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(d), "m"(pixel));
#else
  sum += d * pixel;
#endif
}

// --- the gradient of the weights ---

// sums[r][s] += over all positions dout[p][q] x[p + r][q + s].
template <int NR, int S>
void weight_taps(const Conv2dParams& p, const float* dout, const float* x, std::int64_t pitch, float* sums) {
  Vec sum[NR][S];
#pragma GCC unroll 8
  for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) sum[r][s] = load(sums + (r * S + s) * width);
  for (std::int64_t i = 0; i < p.P; ++i)
    for (std::int64_t j = 0; j < p.Q; ++j, dout += width) {
      const Vec d = load(dout);
      const float* row = x + i * pitch + j;
#pragma GCC unroll 8
      for (int r = 0; r < NR; ++r, row += pitch)
#pragma GCC unroll 8
        for (int s = 0; s < S; ++s) add_product(sum[r][s], d, row[s]);
    }
#pragma GCC unroll 8
  for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) store(sums + (r * S + s) * width, sum[r][s]);
}

using WeightTaps = void (*)(const Conv2dParams&, const float*, const float*, std::int64_t, float*);

// Kernel rows at a time: as many as the registers hold.
template <int S>
constexpr int weight_rows = vector_registers == 32 ? (S == 3   ? 7
                                                      : S == 5 ? 5
                                                               : 3)
                                                   : (S == 3   ? 4
                                                      : S == 5 ? 2
                                                               : 1);

template <int S>
WeightTaps weight_taps_for(std::int64_t rows) {
  switch (rows) {
    case 1: return weight_taps<1, S>;
    case 2: return weight_taps < weight_rows<S> >= 2 ? 2 : 1, S > ;
    case 3: return weight_taps < weight_rows<S> >= 3 ? 3 : 1, S > ;
    case 4: return weight_taps < weight_rows<S> >= 4 ? 4 : 1, S > ;
    case 5: return weight_taps < weight_rows<S> >= 5 ? 5 : 1, S > ;
    case 6: return weight_taps < weight_rows<S> >= 6 ? 6 : 1, S > ;
    default: return weight_taps < weight_rows<S> >= 7 ? 7 : 1, S > ;
  }
}

// dw of one image for the output channels in `dout` [p][q][lane], added to sums [c][r][s][lane].
template <int S>
void add_weight_gradient(const Conv2dParams& p, const float* dout, const float* x, std::int64_t rows,
                         std::int64_t pitch, float* sums) {
  const std::int64_t cuts = ceil_div(p.R, std::int64_t{weight_rows<S>});
  for (std::int64_t c = 0; c < p.C; ++c)
    for (std::int64_t cut = 0; cut < cuts; ++cut) {
      const std::int64_t r = cut * p.R / cuts, end = (cut + 1) * p.R / cuts;
      weight_taps_for<S>(end - r)(p, dout, x + (c * rows + r) * pitch, pitch,
                                  sums + (c * p.R + r) * S * width);
    }
}

// `count` planes of dout to [position][lane]; their sums are added to db.
void channels_last(const float* dout, std::int64_t positions, std::int64_t count, float* to, float* db) {
  Vec total{};
  for (std::int64_t o = 0; o < positions; o += width) {
    const std::int64_t some = min_of<std::int64_t>(width, positions - o);
    Vec r[width];
#pragma GCC unroll 16
    for (int k = 0; k < width; ++k) r[k] = k < count ? load_some(dout + k * positions + o, some) : Vec{};
    transpose(r);
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) {
      store(to + (o + i) * width, r[i]);
      total += r[i];
    }
  }
  for (std::int64_t k = 0; k < count; ++k) db[k] += total[k];
}

}  // namespace

bool conv2d_outputs_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype) || p.N == 0) return false;
  const std::int64_t taps = p.C * p.R * p.S, positions = p.P * p.Q, lanes = round_up(p.K, width);
  const std::int64_t groups = min_of<std::int64_t>(p.N, 16), stride = lanes * taps + lanes;
  const Scratch<float> partial(groups * stride);
  parallel_tasks(groups, p.N * p.K * taps * positions / 8, [&](std::int64_t g) {
    const Padded padded(p);
    const Scratch<float> dout(round_up(positions, width) * width);
    float *sums = partial.data() + g * stride, *db = sums + lanes * taps;
    for (std::int64_t i = 0; i < stride; ++i) sums[i] = 0;
    for (std::int64_t n = g * p.N / groups; n < (g + 1) * p.N / groups; ++n) {
      const float* x = padded.of(static_cast<const float*>(a.x) + n * p.C * p.H * p.W);
      for (std::int64_t k = 0; k < p.K; k += width) {
        channels_last(static_cast<const float*>(a.dout) + (n * p.K + k) * positions, positions,
                      min_of<std::int64_t>(width, p.K - k), dout.data(), db + k);
        const auto add = p.S == 3   ? add_weight_gradient<3>
                         : p.S == 5 ? add_weight_gradient<5>
                                    : add_weight_gradient<7>;
        add(p, dout.data(), x, padded.rows, padded.pitch, sums + k * taps);
      }
    }
  });
  for (std::int64_t g = 1; g < groups; ++g)
    for (std::int64_t i = 0; i < stride; ++i) partial[i] += partial[g * stride + i];
  for (std::int64_t k = 0; k < p.K; ++k) {  // [k / width][tap][k % width]
    const float* from = partial.data() + k / width * width * taps + k % width;
    for (std::int64_t t = 0; t < taps; ++t) static_cast<float*>(a.dw)[k * taps + t] = from[t * width];
    if (a.db) static_cast<float*>(a.db)[k] = partial[lanes * taps + k];
  }
  return true;
}

// --- forward ---

namespace {

// top += pixel * weight[s] for a row of pixels x_top, bottom += alike for x_bottom; either may be left out.
template <int S, int NQ, bool with_top, bool with_bottom>
WEFT_INLINE void add_row(Vec (&top)[NQ], Vec (&bottom)[NQ], const float* x_top, const float* x_bottom,
                         const float* top_weights, const float* bottom_weights) {
#pragma GCC unroll 32
  for (int w = 0; w < NQ + S - 1; ++w) {
    const Vec pixel_top = broadcast(x_top[w]), pixel_bottom = broadcast(x_bottom[w]);
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
      const int q = w - s;
      if (q < 0 || q >= NQ) continue;
      if constexpr (with_top) top[q] += pixel_top * load(top_weights + s * width);
      if constexpr (with_bottom) bottom[q] += pixel_bottom * load(bottom_weights + s * width);
    }
  }
}

// Two rows of NQ columns for one vector of output channels; out: [row][Q][lane], rows `out_pitch` apart.
template <int S, int NQ>
void outputs_tile(const Conv2dParams& p, const float* x, std::int64_t rows, std::int64_t pitch,
                  const float* weights, float* out, std::int64_t out_pitch) {
  Vec top[NQ] = {}, bottom[NQ] = {};
  constexpr std::int64_t row = S * width;
  const std::int64_t plane = rows * pitch;
  add_row<S, NQ, true, false>(top, bottom, x, x, weights, weights);
  for (std::int64_t c = 0;; ++c, weights += p.R * row, x += plane) {
    for (std::int64_t r = 1; r < p.R; ++r)
      add_row<S, NQ, true, true>(top, bottom, x + r * pitch, x + r * pitch, weights + r * row,
                                 weights + (r - 1) * row);
    if (c == p.C - 1) break;
    // The last row of pixels is the lower sums' alone, the next channel's first one the upper sums'.
    add_row<S, NQ, true, true>(top, bottom, x + plane, x + p.R * pitch, weights + p.R * row,
                               weights + (p.R - 1) * row);
  }
  add_row<S, NQ, false, true>(top, bottom, x, x + p.R * pitch, weights, weights + (p.R - 1) * row);
#pragma GCC unroll 16
  for (int q = 0; q < NQ; ++q) {
    store(out + q * width, top[q]);
    store(out + out_pitch + q * width, bottom[q]);
  }
}

using Tile = void (*)(const Conv2dParams&, const float*, std::int64_t, std::int64_t, const float*, float*,
                      std::int64_t);
template <int S, int NQ>
constexpr Tile tile_or_null() {
  if constexpr (NQ <= max_columns)
    return outputs_tile<S, NQ>;
  else
    return nullptr;
}
template <int S>
constexpr Tile tiles[] = {nullptr,
                          tile_or_null<S, 1>(),
                          tile_or_null<S, 2>(),
                          tile_or_null<S, 3>(),
                          tile_or_null<S, 4>(),
                          tile_or_null<S, 5>(),
                          tile_or_null<S, 6>(),
                          tile_or_null<S, 7>(),
                          tile_or_null<S, 8>(),
                          tile_or_null<S, 9>(),
                          tile_or_null<S, 10>()};

// [position][lane] to `count` planes, with bias and ReLU. A square at the end of a plane runs over into the
// next one, which is written after it: so the squares go from the end to the beginning. Only the last plane
// is cut.
void store_planes(const float* from, std::int64_t positions, std::int64_t count, const float* bias, bool relu,
                  float* out) {
  const Vec b = load_some(bias, count);
  for (std::int64_t o = (positions - 1) / width * width; o >= 0; o -= width) {
    Vec r[width];
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) {
      const Vec v = load(from + (o + i) * width) + b;
      r[i] = relu ? (v <= 0 ? Vec{} : v) : v;
    }
    transpose(r);
#pragma GCC unroll 16
    for (int k = 0; k < width; ++k) {
      float* to = out + k * positions + o;
      if (k < count && k * positions + o + width <= count * positions) {
        store(to, r[k]);
      } else if (k < count) {
        float last[width];
        store(last, r[k]);
        for (std::int64_t i = 0; i < positions - o; ++i) to[i] = last[i];
      }
    }
  }
}

}  // namespace

bool conv2d_outputs_forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  const bool relu = a.activation == Activation::relu;
  if (!takes(p, a.dtype) || (a.activation != Activation::none && !relu)) return false;
  if (p.P < 2) return false;  // no two rows
  const std::int64_t taps = p.C * p.R * p.S, positions = p.P * p.Q, lanes = round_up(p.K, width);
  const Scratch<float> packed(lanes * taps + lanes);
  float* bias = packed.data() + lanes * taps;
  const auto* weight = static_cast<const float*>(a.weight);
  for (std::int64_t k = 0; k < lanes; ++k) {
    float* to = packed.data() + k / width * width * taps + k % width;
    for (std::int64_t t = 0; t < taps; ++t) to[t * width] = k < p.K ? weight[k * taps + t] : 0;
    bias[k] = a.bias && k < p.K ? static_cast<const float*>(a.bias)[k] : 0;
  }
  const Tile* tile = p.S == 3 ? tiles<3> : p.S == 5 ? tiles<5> : tiles<7>;
  const std::int64_t pieces = min_of<std::int64_t>(p.N, 64), cuts = ceil_div(p.Q, std::int64_t{max_columns});
  parallel_tasks(pieces, p.N * p.K * taps * positions / 8, [&](std::int64_t piece) {
    const Padded padded(p);
    const Scratch<float> result(round_up(positions, width) * width);
    for (std::int64_t n = piece * p.N / pieces; n < (piece + 1) * p.N / pieces; ++n) {
      const float* x = padded.of(static_cast<const float*>(a.x) + n * p.C * p.H * p.W);
      for (std::int64_t k = 0; k < p.K; k += width) {
        for (std::int64_t i = 0; i < p.P; i += 2)
          for (std::int64_t cut = 0; cut < cuts; ++cut) {
            const std::int64_t j = cut * p.Q / cuts, end = (cut + 1) * p.Q / cuts;
            const std::int64_t row =
                min_of(i, p.P - 2);  // an odd last row is made together with the one before
            tile[end - j](p, x + row * padded.pitch + j, padded.rows, padded.pitch, packed.data() + k * taps,
                          result.data() + (row * p.Q + j) * width, p.Q * width);
          }
        store_planes(result.data(), positions, min_of<std::int64_t>(width, p.K - k), bias + k, relu,
                     static_cast<float*>(a.out) + (n * p.K + k) * positions);
      }
    }
  });
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
