// Convolution with stride 1 straight from padded images, for few channels (LeNet, first layers).
//
// An image is copied into planes with its padding around it, Wp = W + pad_left + pad_right wide. Seen as one
// flat row of numbers, the tap (r, s) of the output at flat position i = p Wp + q is the input at
// i + r dilation_h Wp + s dilation_w, for every p and q alike. So the sum runs over whole vectors of
// neighbouring positions, across the ends of rows; what comes out at q >= Q is thrown away.
//
//   forward   out[k][i] = sum over c and taps of weight[k][c][tap] x[c][i + offset(tap)]
//             registers: KB output channels x NV vectors of positions
//   dx        the same, with dout padded by dilation - pad, and the weights transposed and turned round
//   dw        dw[k][c][r][s] = sum over i of dout[k][i] x[c][i + offset(r, s)], dout's rows spaced Wp apart
//             with zeros between; vector registers: KB output channels x the S taps of one row
//
// Everything is per image, or for dw per group of images whose size depends on the problem alone; the groups'
// sums are added in order. float32, one group.
#include "cpu/conv2d_direct.h"

#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

namespace {

using Vec = VecOf<float>::type;
constexpr int width = lanes_of<float>;

constexpr std::int64_t scratch_limit = 512 * 1024;  // bytes for one image: it should stay in the L2 cache
constexpr int max_taps = 128;
constexpr int max_block = vector_registers == 32 ? 8 : 6;

// How many vectors of positions go with a block of output channels: the accumulators fill the
// vector_registers but for the loaded vectors and a broadcast weight.
constexpr int vectors_for(int block) {
  const int fit =
      (vector_registers - (vector_registers == 32 ? 6 : 3)) / (block + (vector_registers == 32 ? 0 : 1));
  return fit < 1 ? 1 : fit > 6 ? 6 : fit;
}

std::int64_t round_up(std::int64_t n, std::int64_t to) { return ceil_div(n, to) * to; }

// A correlation of `channels` padded planes with `outputs` filters.
struct Problem {
  std::int64_t channels, outputs;
  std::int64_t height, wide;         // of the unpadded source
  std::int64_t top, left;            // where it lies in the padded plane
  std::int64_t plane_height, pitch;  // padded size; pitch is Wp
  std::int64_t rows, columns;        // of the result
  int taps;
  std::int64_t offset[max_taps];  // of each tap, in the flat plane

  std::int64_t positions() const { return (rows - 1) * pitch + columns; }
  // A plane with room for the last vector's overhang.
  std::int64_t plane() const { return round_up(plane_height * pitch + 8 * width, width); }
  std::int64_t result_plane() const { return round_up(rows * pitch, width) + 8 * width; }
};

void fill_offsets(Problem& problem, const Conv2dParams& p) {
  problem.taps = static_cast<int>(p.R * p.S);
  for (std::int64_t r = 0; r < p.R; ++r)
    for (std::int64_t s = 0; s < p.S; ++s)
      problem.offset[r * p.S + s] = r * p.dilation_h * problem.pitch + s * p.dilation_w;
}

bool takes(const Conv2dParams& p, DType dtype) {
  return dtype == DType::float32 && p.groups == 1 && p.stride_h == 1 && p.stride_w == 1 && p.R * p.S > 1 &&
         p.R * p.S <= max_taps && p.P > 0 && p.Q > 0 && p.N > 0;
}

Problem forward_problem(const Conv2dParams& p) {
  Problem f;
  f.channels = p.C;
  f.outputs = p.K;
  f.height = p.H;
  f.wide = p.W;
  f.top = p.pad_top;
  f.left = p.pad_left;
  f.plane_height = p.H + p.pad_top + p.pad_bottom;
  f.pitch = p.W + p.pad_left + p.pad_right;
  f.rows = p.P;
  f.columns = p.Q;
  fill_offsets(f, p);
  return f;
}

// Copies one image's channels into padded planes; everything around is zero.
void pad_planes(const Problem& f, const float* image, float* planes) {
  const std::int64_t plane = f.plane();
  for (std::int64_t c = 0; c < f.channels; ++c) {
    float* to = planes + c * plane;
    const float* from = image + c * f.height * f.wide;
    std::int64_t done = 0;
    for (std::int64_t h = 0; h < f.height; ++h) {
      const std::int64_t start = (h + f.top) * f.pitch + f.left;
      for (; done < start; ++done) to[done] = 0;
      for (std::int64_t w = 0; w < f.wide; ++w) to[start + w] = from[h * f.wide + w];
      done = start + f.wide;
    }
    for (; done < plane; ++done) to[done] = 0;
  }
}

// result[k][i .. i + NV width) for KB outputs. weights: [channel][tap][KB].
template <int KB, int NV>
[[gnu::always_inline]] inline void correlate_tile(const Problem& f, const float* planes, const float* weights,
                                                  float* result, std::int64_t i) {
  Vec sum[KB][NV] = {};
  const std::int64_t plane = f.plane();
  for (std::int64_t c = 0; c < f.channels; ++c) {
    const float* base = planes + c * plane + i;
    for (int t = 0; t < f.taps; ++t, weights += KB) {
      const float* x = base + f.offset[t];
      Vec v[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) v[j] = *reinterpret_cast<const Vec*>(x + j * width);
#pragma GCC unroll 8
      for (int k = 0; k < KB; ++k)
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) sum[k][j] += weights[k] * v[j];
    }
  }
  const std::int64_t stride = f.result_plane();
#pragma GCC unroll 8
  for (int k = 0; k < KB; ++k)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) *reinterpret_cast<Vec*>(result + k * stride + i + j * width) = sum[k][j];
}

// All positions for one block of KB outputs: tiles of NV vectors, then the rest.
template <int KB>
void correlate_block(const Problem& f, const float* planes, const float* weights, float* result) {
  constexpr int NV = vectors_for(KB);
  const std::int64_t vectors = ceil_div(f.positions(), width);
  std::int64_t v = 0;
  for (; v + NV <= vectors; v += NV) correlate_tile<KB, NV>(f, planes, weights, result, v * width);
  if constexpr (NV > 2)
    for (; v + 2 <= vectors; v += 2) correlate_tile<KB, 2>(f, planes, weights, result, v * width);
  for (; v < vectors; ++v) correlate_tile<KB, 1>(f, planes, weights, result, v * width);
}

using Block = void (*)(const Problem&, const float*, const float*, float*);
constexpr Block blocks[] = {nullptr,
                            correlate_block<1>,
                            correlate_block<2>,
                            correlate_block<3>,
                            correlate_block<4>,
                            correlate_block<5>,
                            correlate_block<6>,
                            correlate_block<max_block == 8 ? 7 : 6>,
                            correlate_block<max_block>};

// Outputs are cut into blocks of nearly equal size: 16 = 8 + 8, 10 = 5 + 5, 6 = 6.
struct Blocks {
  explicit Blocks(std::int64_t outputs)
      : count(ceil_div(outputs, max_block)), size(outputs / count), larger(outputs % count) {}
  std::int64_t begin(std::int64_t b) const { return b * size + min_of(b, larger); }
  int length(std::int64_t b) const { return static_cast<int>(size + (b < larger ? 1 : 0)); }
  std::int64_t count, size, larger;
};

// The valid part of the flat result, with bias and activation.
void store(const Problem& f, const float* result, int count, const float* bias, bool relu, float* out) {
  for (int k = 0; k < count; ++k) {
    const float b = bias ? bias[k] : 0;
    const float* from = result + k * f.result_plane();
    float* to = out + k * f.rows * f.columns;
    for (std::int64_t p = 0; p < f.rows; ++p, to += f.columns, from += f.pitch)
      if (relu)
        for (std::int64_t q = 0; q < f.columns; ++q) to[q] = from[q] + b <= 0 ? 0 : from[q] + b;
      else
        for (std::int64_t q = 0; q < f.columns; ++q) to[q] = from[q] + b;
  }
}

// weights: blocks of outputs, each [channel][tap][block].
void correlate(const Problem& f, std::int64_t images, const float* x, const float* weights, const float* bias,
               bool relu, float* out) {
  const Blocks cut(f.outputs);
  const std::int64_t work = images * f.outputs * f.channels * f.taps * f.positions() / 8;
  const std::int64_t pieces = min_of<std::int64_t>(images, 64);
  parallel_tasks(pieces, work, [&](std::int64_t piece) {
    const Scratch<float> scratch(f.channels * f.plane() + max_block * f.result_plane());
    float* result = scratch.data() + f.channels * f.plane();
    for (std::int64_t n = piece * images / pieces; n < (piece + 1) * images / pieces; ++n) {
      pad_planes(f, x + n * f.channels * f.height * f.wide, scratch.data());
      for (std::int64_t b = 0; b < cut.count; ++b) {
        const std::int64_t first = cut.begin(b);
        const int length = cut.length(b);
        blocks[length](f, scratch.data(), weights + first * f.channels * f.taps, result);
        store(f, result, length, bias ? bias + first : nullptr, relu,
              out + (n * f.outputs + first) * f.rows * f.columns);
      }
    }
  });
}

bool fits(const Problem& f) {
  return (f.channels * f.plane() + max_block * f.result_plane()) * 4 <= scratch_limit;
}

// --- the gradient of the weights ---

// sums[k][s] += sum over i of dout[k][i] x[i + s step]: KB outputs, S taps.
template <int KB, int S>
[[gnu::always_inline]] inline void weight_tile(const float* dout, std::int64_t dout_plane, const float* x,
                                               std::int64_t step, std::int64_t positions, Vec (&sum)[KB][S]) {
  Vec local[KB][S];
#pragma GCC unroll 8
  for (int k = 0; k < KB; ++k)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) local[k][s] = sum[k][s];
  for (std::int64_t i = 0; i < positions; i += width) {
    Vec d[KB];
#pragma GCC unroll 8
    for (int k = 0; k < KB; ++k) d[k] = *reinterpret_cast<const Vec*>(dout + k * dout_plane + i);
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
      const Vec v = *reinterpret_cast<const Vec*>(x + i + s * step);
#pragma GCC unroll 8
      for (int k = 0; k < KB; ++k) local[k][s] += d[k] * v;
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < KB; ++k)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) sum[k][s] = local[k][s];
}

float horizontal(const Vec& v) {
  float parts[width];
  for (int i = 0; i < width; ++i) parts[i] = v[i];
  for (int half = width / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
  return parts[0];
}

// The planes of a group of images: x padded, dout with rows `pitch` apart and zeros between.
struct Group {
  const float* x;
  const float* dout;
  std::int64_t images;
};

// dw of KB outputs from k on, all channels, summed over the images of a group. dw: (K,C,R,S).
template <int KB, int S>
void weight_block(const Problem& f, const Conv2dParams& p, const Group& group, std::int64_t k, float* dw) {
  const std::int64_t positions = round_up(f.positions(), width), dout_plane = f.result_plane();
  for (std::int64_t c = 0; c < p.C; ++c)
    for (std::int64_t r = 0; r < p.R; ++r) {
      Vec sum[KB][S] = {};
      for (std::int64_t n = 0; n < group.images; ++n)
        weight_tile<KB, S>(group.dout + (n * p.K + k) * dout_plane, dout_plane,
                           group.x + (n * p.C + c) * f.plane() + f.offset[r * S], p.dilation_w, positions,
                           sum);
      for (int i = 0; i < KB; ++i)
        for (int s = 0; s < S; ++s) dw[(((k + i) * p.C + c) * p.R + r) * S + s] = horizontal(sum[i][s]);
    }
}

template <int S>
constexpr int weight_outputs = vector_registers == 32 ? (S <= 3   ? 6
                                                         : S <= 5 ? 4
                                                                  : 3)
                                                      : (S <= 3   ? 3
                                                         : S <= 5 ? 2
                                                                  : 1);

template <int S>
void weight_group(const Problem& f, const Conv2dParams& p, const Group& group, float* dw) {
  constexpr int KB = weight_outputs<S>;
  std::int64_t k = 0;
  for (; k + KB <= p.K; k += KB) weight_block<KB, S>(f, p, group, k, dw);
  if constexpr (KB > 2)
    for (; k + 2 <= p.K; k += 2) weight_block<2, S>(f, p, group, k, dw);
  for (; k < p.K; ++k) weight_block<1, S>(f, p, group, k, dw);
}

using WeightGroup = void (*)(const Problem&, const Conv2dParams&, const Group&, float*);

WeightGroup weight_group_for(std::int64_t S) {
  switch (S) {
    case 2: return weight_group<2>;
    case 3: return weight_group<3>;
    case 5: return weight_group<5>;
    case 7: return weight_group<7>;
    default: return nullptr;
  }
}

// Spreads dout's rows `pitch` apart with zeros between; sums each plane into db.
void spread_dout(const Problem& f, std::int64_t K, const float* dout, float* planes, float* db) {
  const std::int64_t plane = f.result_plane();
  for (std::int64_t k = 0; k < K; ++k) {
    float* to = planes + k * plane;
    float total = 0;
    for (std::int64_t p = 0; p < f.rows; ++p, to += f.pitch, dout += f.columns) {
      float row = 0;
      for (std::int64_t q = 0; q < f.columns; ++q) to[q] = dout[q];
      for (std::int64_t q = 0; q < f.columns; ++q) row += dout[q];
      for (std::int64_t q = f.columns; q < f.pitch; ++q) to[q] = 0;
      total += row;
    }
    for (float* end = planes + (k + 1) * plane; to < end; ++to) *to = 0;
    db[k] += total;
  }
}

}  // namespace

bool conv2d_direct_forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  const bool relu = a.activation == Activation::relu;
  if (!takes(p, a.dtype) || (a.activation != Activation::none && !relu)) return false;
  const Problem f = forward_problem(p);
  if (!fits(f)) return false;
  const Scratch<float> packed(p.K * p.C * f.taps);
  const Blocks cut(p.K);
  const auto* weight = static_cast<const float*>(a.weight);
  float* to = packed.data();
  for (std::int64_t b = 0; b < cut.count; ++b)
    for (std::int64_t c = 0; c < p.C; ++c)
      for (int t = 0; t < f.taps; ++t)
        for (int k = 0; k < cut.length(b); ++k) *to++ = weight[((cut.begin(b) + k) * p.C + c) * f.taps + t];
  correlate(f, p.N, static_cast<const float*>(a.x), packed.data(), static_cast<const float*>(a.bias), relu,
            static_cast<float*>(a.out));
  return true;
}

bool conv2d_direct_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  const std::int64_t reach_h = (p.R - 1) * p.dilation_h, reach_w = (p.S - 1) * p.dilation_w;
  if (!takes(p, a.dtype) || p.pad_top > reach_h || p.pad_bottom > reach_h || p.pad_left > reach_w ||
      p.pad_right > reach_w)
    return false;
  Problem f;
  f.channels = p.K;
  f.outputs = p.C;
  f.height = p.P;
  f.wide = p.Q;
  f.top = reach_h - p.pad_top;
  f.left = reach_w - p.pad_left;
  f.plane_height = p.H + reach_h;
  f.pitch = p.W + reach_w;
  f.rows = p.H;
  f.columns = p.W;
  fill_offsets(f, p);
  if (!fits(f)) return false;
  const Scratch<float> packed(p.K * p.C * f.taps);
  const Blocks cut(p.C);
  const auto* weight = static_cast<const float*>(a.weight);
  float* to = packed.data();
  for (std::int64_t b = 0; b < cut.count; ++b)
    for (std::int64_t k = 0; k < p.K; ++k)
      for (int t = 0; t < f.taps; ++t)  // the filter turned around
        for (int c = 0; c < cut.length(b); ++c)
          *to++ = weight[(k * p.C + cut.begin(b) + c) * f.taps + f.taps - 1 - t];
  correlate(f, p.N, static_cast<const float*>(a.dout), packed.data(), nullptr, false,
            static_cast<float*>(a.dx));
  return true;
}

bool conv2d_direct_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const WeightGroup weight_group_of = weight_group_for(p.S);
  if (!takes(p, a.dtype) || !weight_group_of) return false;
  const Problem f = forward_problem(p);
  const std::int64_t image = p.C * f.plane() + p.K * f.result_plane();
  if (image * 4 > scratch_limit) return false;
  // Groups: as many images as the L2 cache holds, but enough groups for many threads.
  const std::int64_t size = max_of<std::int64_t>(1, min_of(p.N / 16, scratch_limit / (4 * image)));
  const std::int64_t groups = ceil_div(p.N, size), weights = p.K * p.C * f.taps, partial = weights + p.K;
  const Scratch<float> sums(groups * partial);
  const std::int64_t work = p.N * p.K * p.C * f.taps * f.positions() / 8;
  parallel_tasks(groups, work, [&](std::int64_t g) {
    const Scratch<float> scratch(size * image);
    float* x = scratch.data();
    float* dout = scratch.data() + size * p.C * f.plane();
    float* sum = sums.data() + g * partial;
    for (std::int64_t k = 0; k < p.K; ++k) sum[weights + k] = 0;
    const std::int64_t first = g * size, count = min_of(size, p.N - first);
    for (std::int64_t n = 0; n < count; ++n) {
      pad_planes(f, static_cast<const float*>(a.x) + (first + n) * p.C * p.H * p.W, x + n * p.C * f.plane());
      spread_dout(f, p.K, static_cast<const float*>(a.dout) + (first + n) * p.K * p.P * p.Q,
                  dout + n * p.K * f.result_plane(), sum + weights);
    }
    weight_group_of(f, p, {x, dout, count}, sum);
  });
  auto* dw = static_cast<float*>(a.dw);
  auto* db = static_cast<float*>(a.db);
  for (std::int64_t i = 0; i < partial; ++i) {
    float total = 0;
    for (std::int64_t g = 0; g < groups; ++g) total += sums.data()[g * partial + i];
    if (i < weights)
      dw[i] = total;
    else if (db)
      db[i - weights] = total;
  }
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
