// 5x5 convolution of few channels (LeNet's second layer) by Winograd's filtering, F(2x2,5x5): plain, and with
// bias, ReLU and 2x2 max-pooling. Lanes are images: conv2d_winograd/images.h.
//
//   forward   out = A^T [sum over c of U . V] A. A tile is a pooling window: its four outputs lie in four
//             registers, and pooling is a comparison of these
//   dx        the transpose of it: D = A dout A^T, then B [sum over k of U . D] B^T added to the 6x6 pixels
//             that a tile reads. All tiles are of the output, none of the padding
//   dw        conv2d_winograd/images_gradient.h
//
// Two tiles at a time, so that each number of U is loaded once for two products. Blocks of images, and pieces
// of their tiles, depend on the problem alone. Takes float32, stride 1, one group, precision "fast", and so
// many images that the lanes are filled.
#include "cpu/conv2d_winograd_images.h"

#include "cpu/conv2d_relu_max_pool2d_window.h"
#include "cpu/conv2d_winograd/images_gradient.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t scratch_limit = 768 * 1024;  // bytes of a thread: they should stay in the L2 cache

// rows, columns: of tiles.
bool takes(const Conv2dParams& p, DType dtype, std::int64_t rows, std::int64_t columns) {
  if (dtype != DType::float32 || p.precision != ConvPrecision::fast || p.R != 5 || p.S != 5 ||
      p.stride_h != 1 || p.stride_w != 1 || p.dilation_h != 1 || p.dilation_w != 1 || p.groups != 1)
    return false;
  // Lanes of images, and for dw of output channels.
  if (p.N < 16 || 4 * p.N < 3 * L * ceil_div(p.N, L) || 4 * p.K < 3 * L * ceil_div(p.K, L)) return false;
  // Operations of a tile, those of the transforms too, beside the definition's.
  const std::int64_t ours = rows * columns * (planes5 * p.C * p.K + 120 * p.C + 64 * p.K);
  if (10 * ours > 7 * p.P * p.Q * p.C * 25 * p.K) return false;
  const std::int64_t x = p.C * (p.H + 9) * (p.W + 9), y = p.K * p.P * p.Q;
  return 4 * L * (x + 2 * y + planes5 * 2 * (p.C + p.K)) <= scratch_limit;
}

// --- forward ---

struct Forward {
  const float* bias;     // may be null
  bool relu;             // of a plain convolution
  float* out;            // (N,K,P,Q), or pooled
  std::uint8_t* winner;  // null for a plain convolution
};

// What a thread works with. Tiles first .. last of a block.
struct ForwardSpace {
  ForwardSpace(const ImagesPlan& plan, std::int64_t positions)
      : image(plan.x_size()),
        pair(planes5 * plan.p.C * 2 * L),
        row(F5::n * plan.p.K * 4 * L),
        outs(plan.p.K * positions * L),
        data(image + pair + row + 2 * outs),
        x(data.data()),
        v(x + image),
        t(v + pair),
        y(t + row),
        codes(y + outs) {}
  std::int64_t image, pair, row, outs;
  Scratch<float> data;
  float *x, *v, *t, *y, *codes;  // y and codes: [k][position][L]
};

// t [o][tile][2] = (upper: +=) what three points of a row, the first or the last of six, give of A^T M, for
// two tiles and MO output channels. v: [3][depth][2][L], u: [3][depth][Kp].
template <int MO, bool upper>
void multiply_row(std::int64_t depth, const float* v, const float* u, std::int64_t Kp, float* t) {
  const std::int64_t v_plane = depth * 2 * L, u_plane = depth * Kp;
  Vec sum[3][MO][2] = {};
  for (std::int64_t d = 0; d < depth; ++d, v += 2 * L, u += Kp)
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      const Vec a = load(v + j * v_plane), b = load(v + j * v_plane + L);
#pragma GCC unroll 4
      for (int o = 0; o < MO; ++o) {
        const Vec w = broadcast(u[j * u_plane + o]);
        sum[j][o][0] += a * w;
        sum[j][o][1] += b * w;
      }
    }
#pragma GCC unroll 4
  for (int o = 0; o < MO; ++o)
#pragma GCC unroll 2
    for (int tile = 0; tile < 2; ++tile, t += 2 * L) {
      const Vec a = sum[0][o][tile], b = sum[1][o][tile], c = sum[2][o][tile];
      if constexpr (upper) {
        store(t, load(t) + F5::scale_t * (a + b));
        store(t + L, load(t + L) + c + (F5::scale_t * root2) * (a - b));
      } else {
        store(t, a + F5::scale_s * (b + c));
        store(t + L, (F5::scale_s * root_half) * (b - c));
      }
    }
}

using MultiplyRow = void (*)(std::int64_t, const float*, const float*, std::int64_t, float*);
constexpr int max_outs = vector_registers == 32 ? 4 : 2;
template <bool upper>
constexpr MultiplyRow multiply_row_of[] = {nullptr, multiply_row<1, upper>, multiply_row<2, upper>,
                                           multiply_row<max_outs == 4 ? 3 : 1, upper>,
                                           multiply_row<max_outs == 4 ? 4 : 1, upper>};

// t [i][k][tile][2] = A^T of the rows of M, for the two tiles in V.
void multiply_rows(const ImagesPlan& plan, const float* u, const ForwardSpace& w) {
  const std::int64_t C = plan.p.C, K = plan.p.K;
  for (int half = 0; half < halves5; ++half)
    for (std::int64_t k = 0; k < K; k += max_outs)
      (half % 2 ? multiply_row_of<true> : multiply_row_of<false>)[min_of<std::int64_t>(max_outs, K - k)](
          C, w.v + half * 3 * C * 2 * L, u + half * 3 * plan.u_plane + k, plan.Kp,
          w.t + (half / 2 * K + k) * 4 * L);
}

// The outputs of tile `which` of the pair, number `tile` of the image, to y; tiles from `first` on.
void finish_tile(const ImagesPlan& plan, const Forward& f, int which, std::int64_t tile, std::int64_t first,
                 std::int64_t positions, const ForwardSpace& w) {
  const Conv2dParams& p = plan.p;
  const std::int64_t row = tile / plan.columns - first / plan.columns, column = tile % plan.columns;
  const bool right = 2 * column + 1 < p.Q, below = 2 * (tile / plan.columns) + 1 < p.P;
  for (std::int64_t k = 0; k < p.K; ++k) {
    Vec out[2][2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      Vec in[F5::n], pair[2];
#pragma GCC unroll 6
      for (int i = 0; i < F5::n; ++i) in[i] = load(w.t + (((i * p.K + k) * 2 + which) * 2 + v) * L);
      F5::output(in, pair);
      out[0][v] = pair[0];
      out[1][v] = pair[1];
    }
    const Vec b = broadcast(f.bias ? f.bias[k] : 0.0f);
    float* y = w.y + k * positions * L;
    if (f.winner) {
      WindowCodes code;
      store(y + (tile - first) * L,
            pool_window({out[0][0] + b, out[0][1] + b, out[1][0] + b, out[1][1] + b}, code));
      store(w.codes + (k * positions + tile - first) * L, __builtin_bit_cast(Vec, code));
      continue;
    }
    y += (2 * row * p.Q + 2 * column) * L;
#pragma GCC unroll 2
    for (int u = 0; u < 2; ++u)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v)
        if ((u == 0 || below) && (v == 0 || right)) {
          const Vec sum = out[u][v] + b;
          store(y + (u * p.Q + v) * L, f.relu ? relu_of(sum) : sum);
        }
  }
}

// From y [k][position][L] to `count` positions of each plane of L images, from `begin` on.
template <class T>
void store_images(const ImagesPlan& plan, std::int64_t block, const float* y, std::int64_t begin,
                  std::int64_t count, std::int64_t plane, T* out) {
  const std::int64_t K = plan.p.K, image = K * plane;
  T* to = out + block * L * image + begin;
  if (count == plane) return turn_out(y, image, plan.images(block), image, to);
  for (std::int64_t k = 0; k < K; ++k)
    turn_out(y + k * count * L, image, plan.images(block), count, to + k * plane);
}

// Tiles first .. last of a block. A plain convolution's are whole rows of tiles.
void forward_piece(const ImagesPlan& plan, const Forward& f, const float* images, const float* u,
                   std::int64_t block, std::int64_t first, std::int64_t last) {
  const Conv2dParams& p = plan.p;
  const std::int64_t top = first / plan.columns * 2, bottom = (last - 1) / plan.columns * 2 + 2;
  const std::int64_t begin = f.winner ? first : top * p.Q;
  const std::int64_t count = f.winner ? last - first : (min_of(bottom, p.P) - top) * p.Q;
  const ForwardSpace w(plan, count);
  turn_images(plan, images, block, top, bottom + 4, w.x);
  for (std::int64_t tile = first; tile < last; tile += 2) {
    const int some = tile + 1 < last ? 2 : 1;  // an odd last one is made twice
    for (int i = 0; i < 2; ++i)
      transform_tile(plan, w.x + plan.corner(tile + (some == 2 ? i : 0)), w.v + i * L, 2 * L, p.C * 2 * L);
    multiply_rows(plan, u, w);
    for (int i = 0; i < some; ++i) finish_tile(plan, f, i, tile + i, first, count, w);
  }
  if (f.winner) {
    store_images(plan, block, w.y, begin, count, plan.tiles, f.out);
    store_images(plan, block, w.codes, begin, count, plan.tiles, f.winner);
  } else {
    store_images(plan, block, w.y, begin, count, p.P * p.Q, f.out);
  }
}

void forward(const ImagesPlan& plan, const Forward& f, const void* x, const void* weight) {
  const Conv2dParams& p = plan.p;
  const Scratch<float> u(planes5 * plan.u_plane);
  transform_filters(plan, static_cast<const float*>(weight), u.data());
  // Few blocks are cut in two: there are threads without work otherwise.
  const std::int64_t pieces = plan.blocks < 4 && plan.rows > 1 ? 2 : 1;
  const std::int64_t unit = f.winner ? 1 : plan.columns, units = plan.tiles / unit;
  parallel_tasks(plan.blocks * pieces, p.N * plan.tiles * planes5 * p.C * p.K / 8, [&](std::int64_t task) {
    const std::int64_t piece = task % pieces;
    forward_piece(plan, f, static_cast<const float*>(x), u.data(), task / pieces,
                  piece * units / pieces * unit, (piece + 1) * units / pieces * unit);
  });
}

// --- backward ---

void backward(const ImagesPlan& plan, const Douts& dout, const void* x, const void* weight, void* dx,
              void* dw, void* db) {
  const Conv2dParams& p = plan.p;
  const Scratch<float> u(dx ? planes5 * p.C * p.K : 0);
  if (dx) pack_filters(plan, static_cast<const float*>(weight), u.data());
  const bool weights = dw || db;
  const std::int64_t size = weight_sums(plan);
  const Scratch<float> sums(weights ? plan.blocks * size : 0);
  // The two gradients of a block are tasks of their own.
  const std::int64_t kinds = (dx ? 1 : 0) + (weights ? 1 : 0);
  parallel_tasks(kinds * plan.blocks, kinds * p.N * plan.tiles * planes5 * p.C * p.K / 8,
                 [&](std::int64_t task) {
                   const std::int64_t block = task / kinds;
                   if (dx && task % kinds == 0)
                     input_gradient(plan, dout, u.data(), block, static_cast<float*>(dx));
                   else
                     weight_gradient(plan, dout, dw ? static_cast<const float*>(x) : nullptr, block,
                                     sums.data() + block * size);
                 });
  if (weights) finish_weight_gradient(plan, sums.data(), static_cast<float*>(dw), static_cast<float*>(db));
}

}  // namespace

bool conv2d_winograd_images_forward(const Conv2dForwardArgs& a) {
  const ImagesPlan plan(a.p, ceil_div(a.p.P, 2), ceil_div(a.p.Q, 2));
  if (!takes(a.p, a.dtype, plan.rows, plan.columns)) return false;
  forward(plan,
          {static_cast<const float*>(a.bias), a.activation == Activation::relu, static_cast<float*>(a.out),
           nullptr},
          a.x, a.weight);
  return true;
}

bool conv2d_winograd_images_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  const ImagesPlan plan(p, ceil_div(p.P, 2), ceil_div(p.Q, 2));
  // A single block is one task: other methods have more.
  if (plan.blocks < 2 || !takes(p, a.dtype, plan.rows, plan.columns)) return false;
  backward(plan, {static_cast<const float*>(a.dout), nullptr, p.P, p.Q}, nullptr, a.weight, a.dx, nullptr,
           nullptr);
  return true;
}

bool conv2d_winograd_images_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const ImagesPlan plan(p, ceil_div(p.P, 2), ceil_div(p.Q, 2));
  // A single block is one task: other methods have more.
  if (plan.blocks < 2 || !takes(p, a.dtype, plan.rows, plan.columns)) return false;
  backward(plan, {static_cast<const float*>(a.dout), nullptr, p.P, p.Q}, a.x, nullptr, nullptr, a.dw, a.db);
  return true;
}

bool conv2d_winograd_images_pooled_forward(const Conv2dReluMaxPool2dArgs& a) {
  const ImagesPlan plan(a.p, a.pool.PP, a.pool.PQ);
  if (a.pool.h != 2 || a.pool.w != 2 || !takes(a.p, a.dtype, plan.rows, plan.columns)) return false;
  forward(plan, {static_cast<const float*>(a.bias), true, static_cast<float*>(a.out), a.winner}, a.x,
          a.weight);
  return true;
}

bool conv2d_winograd_images_pooled_backward(const Conv2dReluMaxPool2dBackwardArgs& a) {
  const ImagesPlan plan(a.p, a.pool.PP, a.pool.PQ);
  if (a.pool.h != 2 || a.pool.w != 2 || !takes(a.p, a.dtype, plan.rows, plan.columns)) return false;
  backward(plan, {static_cast<const float*>(a.dout), a.winner, a.pool.PP, a.pool.PQ}, a.x, a.weight, a.dx,
           a.dw, a.db);
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
