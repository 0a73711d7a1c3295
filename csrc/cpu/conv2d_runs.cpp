// The gradient of a convolution's input, stride 1, for few input channels (LeNet's second layer). Only
// products that exist are made: the way over the padded dout would make one and a half times as many, with
// zeros, and on small images fill its vectors badly.
//
// With the channels last, an element of dout at (p, q) of output channel k adds to R runs of S C numbers,
//
//   dimage[p + r][q + s][c] += dout[k][p][q] weight[k][r][s][c]        (the padded image)
//
// A tile is NP elements of dout below each other: their runs overlap, so that NP + R - 1 runs of NV vectors
// stay in registers while the sum goes over k, and each vector of weights is loaded once for NP products. In
// the end the tile is added to the image. What the last vector holds beyond its run is left out there: a
// zero's product with an infinity is NaN.
//
// An element's sum goes over k within a tile and then over the tiles, rows first: by the problem alone.
#include "cpu/conv2d_runs.h"

#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/simd/lanes.h"
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

namespace {

using Vec = VecOf<float>::type;
constexpr int width = lanes_of<float>;
typedef std::int32_t Ints __attribute__((vector_size(vector_bytes)));

constexpr std::int64_t scratch_limit = 256 * 1024;  // bytes: weights and one image
constexpr int max_tile = 6, max_vectors = vector_registers == 32 ? 2 : 1;

struct Plan {
  explicit Plan(const Conv2dParams& p)
      : p(p),
        vectors(ceil_div(p.S * p.C, std::int64_t{width})),
        pitch((p.W + p.pad_left + p.pad_right) * p.C),
        image((p.H + p.pad_top + p.pad_bottom) * pitch + vectors * width + width),
        weights(p.K * p.R * vectors * width) {}
  const Conv2dParams& p;
  std::int64_t vectors;  // of a run
  std::int64_t pitch, image, weights;
};

// The tile at `dout` (elements `dout_pitch` apart below each other, channels `plane` apart), added to
// `image`. weights: [k][r][vector], k's `step` apart. last: the lanes of the last vector that count.
template <int R, int NP, int NV>
void tile(std::int64_t K, const float* dout, std::int64_t dout_pitch, std::int64_t plane,
          const float* weights, std::int64_t row, const Ints& last, float* image, std::int64_t pitch) {
  Vec sum[NP + R - 1][NV] = {};
  for (std::int64_t k = 0; k < K; ++k, dout += plane, weights += R * row) {
    Vec g[NP];
#pragma GCC unroll 8
    for (int i = 0; i < NP; ++i) g[i] = dout[i * dout_pitch] - Vec{};
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) {
        const Vec w = *reinterpret_cast<const Vec*>(weights + r * row + v * width);
#pragma GCC unroll 8
        for (int i = 0; i < NP; ++i) sum[i + r][v] += g[i] * w;
      }
  }
#pragma GCC unroll 16
  for (int i = 0; i < NP + R - 1; ++i, image += pitch)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      const Vec add = v == NV - 1 ? (last ? sum[i][v] : Vec{}) : sum[i][v];
      *reinterpret_cast<Vec*>(image + v * width) += add;
    }
}

using TileFunction = void (*)(std::int64_t, const float*, std::int64_t, std::int64_t, const float*,
                              std::int64_t, const Ints&, float*, std::int64_t);

// Elements below each other: as many as the registers hold.
template <int R>
constexpr int tile_height = R == 3   ? 6
                            : R == 5 ? 5
                                     : 4;
template <int R, int NP, int NV>
constexpr TileFunction tile_or_null() {
  if constexpr (NP <= tile_height<R> && NV <= max_vectors)
    return tile<R, NP, NV>;
  else
    return nullptr;
}
template <int R>
struct Tiles {
  static constexpr TileFunction of[max_tile + 1][3] = {
      {},
      {nullptr, tile_or_null<R, 1, 1>(), tile_or_null<R, 1, 2>()},
      {nullptr, tile_or_null<R, 2, 1>(), tile_or_null<R, 2, 2>()},
      {nullptr, tile_or_null<R, 3, 1>(), tile_or_null<R, 3, 2>()},
      {nullptr, tile_or_null<R, 4, 1>(), tile_or_null<R, 4, 2>()},
      {nullptr, tile_or_null<R, 5, 1>(), tile_or_null<R, 5, 2>()},
      {nullptr, tile_or_null<R, 6, 1>(), tile_or_null<R, 6, 2>()}};
};

// dx of one image with its padding, channels last.
template <int R>
void one_image(const Plan& plan, const float* dout, const float* weights, float* image) {
  const Conv2dParams& p = plan.p;
  for (std::int64_t i = 0; i < plan.image; ++i) image[i] = 0;
  const std::int64_t row = plan.vectors * width, cuts = ceil_div(p.P, std::int64_t{tile_height<R>});
  Ints lane;
  for (int l = 0; l < width; ++l) lane[l] = l;
  const Ints ends = lane < static_cast<std::int32_t>(p.S * p.C - (plan.vectors - 1) * width), all = lane >= 0;
  for (std::int64_t cut = 0; cut < cuts; ++cut) {
    const std::int64_t i = cut * p.P / cuts, count = (cut + 1) * p.P / cuts - i;
    for (std::int64_t v = 0; v < plan.vectors; v += max_vectors) {
      const std::int64_t nv = min_of<std::int64_t>(max_vectors, plan.vectors - v);
      const TileFunction f = Tiles<R>::of[count][nv];
      for (std::int64_t q = 0; q < p.Q; ++q)
        f(p.K, dout + i * p.Q + q, p.Q, p.P * p.Q, weights + v * width, row,
          v + nv == plan.vectors ? ends : all, image + i * plan.pitch + q * p.C + v * width, plan.pitch);
    }
  }
}

// weight (K,C,R,S) to [k][r][s][c], each run filled up with zeros.
void pack(const Plan& plan, const float* weight, float* to) {
  const Conv2dParams& p = plan.p;
  const std::int64_t row = plan.vectors * width;
  for (std::int64_t i = 0; i < plan.weights; ++i) to[i] = 0;
  for (std::int64_t k = 0; k < p.K; ++k)
    for (std::int64_t c = 0; c < p.C; ++c)
      for (std::int64_t r = 0; r < p.R; ++r)
        for (std::int64_t s = 0; s < p.S; ++s) to[(k * p.R + r) * row + s * p.C + c] = *weight++;
}

// `count` pixels of C channels to C planes `plane` apart. From C vectors, each of which is one pixel's or
// another's, comes the vector of one channel by joining them one after the other. Reads whole vectors.
template <int C>
void planes_of(const float* from, std::int64_t count, float* to, std::int64_t plane) {
  for (std::int64_t n = 0; n < count; n += width, from += C * width) {
    Vec in[C];
#pragma GCC unroll 8
    for (int j = 0; j < C; ++j) in[j] = *reinterpret_cast<const Vec*>(from + j * width);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      Vec out = in[0];
#pragma GCC unroll 8
      for (int j = C == 1 ? 1 : 0; j < C; ++j) {
        Ints index;
#pragma GCC unroll 16
        for (int l = 0; l < width; ++l) {
          const int at = l * C + c;
          index[l] = at / width == j ? (j == 0 ? at % width : width + at % width) : l;
        }
        out = __builtin_shuffle(out, in[j], index);
      }
      if (n + width <= count)
        *reinterpret_cast<Vec*>(to + c * plane + n) = out;
      else
        store_some<float>(to + c * plane + n, out, count - n);
    }
  }
}

using PlanesOf = void (*)(const float*, std::int64_t, float*, std::int64_t);
constexpr PlanesOf planes_of_few[] = {nullptr,      planes_of<1>, planes_of<2>, planes_of<3>, planes_of<4>,
                                      planes_of<5>, planes_of<6>, planes_of<7>, planes_of<8>};

// The image without its padding, channels first. The image has room for the reads of planes_of.
void channels_first(const Plan& plan, const float* image, float* x) {
  const Conv2dParams& p = plan.p;
  const float* from = image + p.pad_top * plan.pitch + p.pad_left * p.C;
  const bool whole = plan.pitch == p.W * p.C;
  const std::int64_t rows = whole ? 1 : p.H, length = whole ? p.H * p.W : p.W;
  for (std::int64_t h = 0; h < rows; ++h, from += plan.pitch, x += length) {
    if (p.C <= 8) {
      planes_of_few[p.C](from, length, x, p.H * p.W);
      continue;
    }
    for (std::int64_t c = 0; c < p.C; ++c)
      for (std::int64_t w = 0; w < length; ++w) x[c * p.H * p.W + w] = from[w * p.C + c];
  }
}

bool takes(const Conv2dParams& p, DType dtype) {
  if (dtype != DType::float32 || p.groups != 1 || p.stride_h != 1 || p.stride_w != 1 || p.dilation_h != 1 ||
      p.dilation_w != 1 || p.R != p.S || (p.R != 3 && p.R != 5 && p.R != 7) || p.K < 8)
    return false;
  const Plan plan(p);
  return 4 * p.S * p.C >= 3 * plan.vectors * width && p.C <= 16 &&
         4 * (plan.image + plan.weights) <= scratch_limit;
}

}  // namespace

bool conv2d_runs_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype)) return false;
  const Plan plan(p);
  const Scratch<float> weights(plan.weights);
  pack(plan, static_cast<const float*>(a.weight), weights.data());
  const std::int64_t pieces = min_of<std::int64_t>(p.N, 64), outs = p.K * p.P * p.Q;
  parallel_tasks(pieces, p.N * outs * p.C * p.R * p.S / 8, [&](std::int64_t piece) {
    const Scratch<float> image(plan.image + p.C * width);  // planes_of reads whole groups of pixels
    for (std::int64_t n = piece * p.N / pieces; n < (piece + 1) * p.N / pieces; ++n) {
      const float* dout = static_cast<const float*>(a.dout) + n * outs;
      const auto one = p.R == 3 ? one_image<3> : p.R == 5 ? one_image<5> : one_image<7>;
      one(plan, dout, weights.data(), image.data());
      channels_first(plan, image.data(), static_cast<float*>(a.dx) + n * p.C * p.H * p.W);
    }
  });
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
