// The gradients of conv2d_winograd_images.cpp.
//
// dw = G^T [sum over tiles and images of D . V] G, with V in lanes of images and D = A dout A^T in lanes of
// output channels: a vector of D times one number of V, no sum across lanes. Each tile's sums over the images
// begin at 0 and are then added to those of the block, and these in order to dw: short sums, because what
// they round comes back from the transform enlarged.
#pragma once
#include "cpu/conv2d_winograd/gradient.h"
#include "cpu/conv2d_winograd/images.h"

namespace weft::cpu::WEFT_ISA {

// The gradient of the output, as such or as that of pooled windows with their winners.
struct Douts {
  const float* data;           // (N,K,rows,columns)
  const std::uint8_t* winner;  // null: not pooled
  std::int64_t rows, columns;

  std::int64_t positions() const { return rows * columns; }
  // Turned, a number takes one float, with its winner two: the winners follow.
  std::int64_t turned(std::int64_t count) const { return count * L * (winner ? 2 : 1); }
  void turn(std::int64_t from, std::int64_t stride, std::int64_t lanes, std::int64_t count, float* to) const {
    turn_in(data + from, stride, lanes, count, to);
    if (winner) turn_in(winner + from, stride, lanes, count, to + count * L);
  }
  // The four gradients of a tile. plane: of turned positions; codes: how far behind the winners are.
  [[gnu::always_inline]] void tile(const float* plane, std::int64_t codes, std::int64_t row,
                                   std::int64_t column, Vec (&d)[2][2]) const {
    if (winner) {
      const float* at = plane + (row * columns + column) * L;
      const Codes code = __builtin_bit_cast(Codes, load(at + codes));
      const Vec g = load(at);
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) d[t / 2][t % 2] = code == t ? g : Vec{};
    } else {
      const bool below = 2 * row + 1 < rows, right = 2 * column + 1 < columns;
      const float* at = plane + (2 * row * columns + 2 * column) * L;
      d[0][0] = load(at);
      d[0][1] = right ? load(at + L) : Vec{};
      d[1][0] = below ? load(at + columns * L) : Vec{};
      d[1][1] = below && right ? load(at + (columns + 1) * L) : Vec{};
    }
  }
};

// --- dx ---

constexpr int max_channels = vector_registers == 32 ? 6 : 3;

// Three of the six points of a row from its two columns.
template <bool upper>
[[gnu::always_inline]] inline void three_points(const Vec& a, const Vec& b, Vec (&d)[3]) {
  d[0] = upper ? a + root2 * b : a;
  d[1] = upper ? a - root2 * b : a + root_half * b;
  d[2] = upper ? b : a - root_half * b;
}

// U with the diagonals of G, in the order in which dx reads it: [half][channels of a group][k][c][3].
inline void pack_filters(const ImagesPlan& plan, const float* weight, float* to) {
  const Conv2dParams& p = plan.p;
  const Scratch<float> u(planes5 * plan.u_plane);
  transform_filters(plan, weight, u.data());
  for (int half = 0; half < halves5; ++half)
    for (std::int64_t c0 = 0; c0 < p.C; c0 += max_channels) {
      const std::int64_t some = min_of<std::int64_t>(max_channels, p.C - c0);
      for (int j = 0; j < 3; ++j) {
        const float scale = F5::scale[half / 2] * F5::scale[half % 2 * 3 + j];
        for (std::int64_t c = 0; c < some; ++c) {
          const float* from = u.data() + (half * 3 + j) * plan.u_plane + (c0 + c) * plan.Kp;
          for (std::int64_t k = 0; k < p.K; ++k) to[(k * some + c) * 3 + j] = scale * from[k];
        }
      }
      to += 3 * some * p.K;
    }
}

// t [i][v][k] = A dy of the columns v of a tile.
inline void transform_dout_columns(const ImagesPlan& plan, const Douts& dout, const float* dy,
                                   std::int64_t tile, float* t) {
  const std::int64_t K = plan.p.K, positions = dout.positions();
  const std::int64_t row = tile / plan.columns, column = tile % plan.columns;
  for (std::int64_t k = 0; k < K; ++k) {
    Vec d[2][2];
    dout.tile(dy + k * positions * L, K * positions * L, row, column, d);
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      Vec out[F5::n];
      F5::dout({d[0][v], d[1][v]}, out);
#pragma GCC unroll 6
      for (int i = 0; i < F5::n; ++i) store(t + ((i * 2 + v) * K + k) * L, out[i]);
    }
  }
}

// m [j][c] = sum over k of U D, for three points of a row and MC channels. t: [2][k], u: [k][c][3].
template <int MC, bool upper>
void multiply_dout(std::int64_t K, const float* t, const float* u, float* m, std::int64_t m_plane) {
  Vec sum[3][MC] = {};
  for (std::int64_t k = 0; k < K; ++k, t += L, u += 3 * MC) {
    Vec d[3];
    three_points<upper>(load(t), load(t + K * L), d);
#pragma GCC unroll 6
    for (int c = 0; c < MC; ++c)
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) sum[j][c] += d[j] * u[3 * c + j];
  }
#pragma GCC unroll 6
  for (int c = 0; c < MC; ++c)
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) store(m + j * m_plane + c * L, sum[j][c]);
}

using MultiplyDout = void (*)(std::int64_t, const float*, const float*, float*, std::int64_t);
template <bool upper>
constexpr MultiplyDout multiply_dout_of[] = {nullptr,
                                             multiply_dout<1, upper>,
                                             multiply_dout<2, upper>,
                                             multiply_dout<3, upper>,
                                             multiply_dout<max_channels == 6 ? 4 : 1, upper>,
                                             multiply_dout<max_channels == 6 ? 5 : 1, upper>,
                                             multiply_dout<max_channels == 6 ? 6 : 1, upper>};

// m [plane][c] of a tile.
inline void multiply_tile(const ImagesPlan& plan, const float* t, const float* u, float* m) {
  const std::int64_t C = plan.p.C, K = plan.p.K;
  for (int half = 0; half < halves5; ++half)
    for (std::int64_t c = 0; c < C; c += max_channels) {
      const std::int64_t some = min_of<std::int64_t>(max_channels, C - c);
      (half % 2 ? multiply_dout_of<true> : multiply_dout_of<false>)[some](K, t + half / 2 * 2 * K * L, u,
                                                                          m + (half * 3 * C + c) * L, C * L);
      u += 3 * some * K;
    }
}

// rows [c][i][column] += m B^T, at the tile's first column.
inline void add_tile_rows(const ImagesPlan& plan, const float* m, float* rows) {
  const std::int64_t C = plan.p.C;
  for (std::int64_t c = 0; c < C; ++c, m += L)
    for (int i = 0; i < F5::n; ++i, rows += plan.Wp * L) {
      Vec in[F5::n], out[F5::n];
#pragma GCC unroll 6
      for (int j = 0; j < F5::n; ++j) in[j] = load(m + (i * F5::n + j) * C * L);
      F5::dinput(in, out);
#pragma GCC unroll 6
      for (int j = 0; j < F5::n; ++j) store(rows + j * L, load(rows + j * L) + out[j]);
    }
}

// dx += B rows, at the first row of a row of tiles; rows is 0 afterwards.
inline void add_columns(const ImagesPlan& plan, float* rows, float* dx) {
  const std::int64_t step = plan.Wp * L;
  for (std::int64_t c = 0; c < plan.p.C; ++c, rows += F5::n * step, dx += plan.pixel(1, 0, 0))
    for (std::int64_t column = 0; column < step; column += L) {
      Vec in[F5::n], out[F5::n];
#pragma GCC unroll 6
      for (int i = 0; i < F5::n; ++i) {
        in[i] = load(rows + i * step + column);
        store(rows + i * step + column, Vec{});
      }
      F5::dinput(in, out);
#pragma GCC unroll 6
      for (int i = 0; i < F5::n; ++i) {
        float* to = dx + i * step + column;
        store(to, load(to) + out[i]);
      }
    }
}

// u: from pack_filters.
inline void input_gradient(const ImagesPlan& plan, const Douts& dout, const float* u, std::int64_t block,
                           float* dx) {
  const Conv2dParams& p = plan.p;
  const std::int64_t outs = p.K * dout.positions(), size = p.C * p.H * p.W;
  const std::int64_t row_size = plan.row_size();
  const Scratch<float> scratch(plan.x_size() + row_size + (halves5 * p.K + planes5 * p.C) * L +
                               dout.turned(outs));
  float *sum = scratch.data(), *rows = sum + plan.x_size(), *t = rows + row_size, *m = t + halves5 * p.K * L,
        *dy = m + planes5 * p.C * L;
  dout.turn(block * L * outs, outs, plan.images(block), outs, dy);
  clear(sum, (plan.x_size() + row_size) / L);
  for (std::int64_t tile = 0; tile < plan.tiles; ++tile) {
    transform_dout_columns(plan, dout, dy, tile, t);
    multiply_tile(plan, t, u, m);
    add_tile_rows(plan, m, rows + tile % plan.columns * 2 * L);
    if ((tile + 1) % plan.columns == 0) add_columns(plan, rows, sum + plan.corner(tile + 1 - plan.columns));
  }
  each_run(plan, 0, plan.Hp, [&](std::int64_t to, std::int64_t count, std::int64_t from) {
    turn_out(sum + from, size, plan.images(block), count, dx + block * L * size + to);
  });
}

// --- dw ---

// sums [j][c][L] += over the images of a tile D V, for three of the six points of a row and MC channels. t: A
// dy of the row, [2][image][L]; v [j][c][L]: lanes are images.
template <int MC, bool upper>
void multiply_points(std::int64_t images, const float* t, const float* v, std::int64_t v_plane, float* sums,
                     std::int64_t sums_plane) {
  Vec sum[3][MC] = {};
  for (std::int64_t n = 0; n < images; ++n, t += L, ++v) {
    Vec d[3];
    three_points<upper>(load(t), load(t + L * L), d);
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j)
#pragma GCC unroll 6
      for (int c = 0; c < MC; ++c) sum[j][c] += d[j] * v[j * v_plane + c * L];
  }
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j)
#pragma GCC unroll 6
    for (int c = 0; c < MC; ++c) {
      float* to = sums + j * sums_plane + c * L;
      store(to, load(to) + sum[j][c]);
    }
}

using MultiplyPoints = void (*)(std::int64_t, const float*, const float*, std::int64_t, float*, std::int64_t);
template <bool upper>
constexpr MultiplyPoints multiply_points_of[] = {nullptr,
                                                 multiply_points<1, upper>,
                                                 multiply_points<2, upper>,
                                                 multiply_points<3, upper>,
                                                 multiply_points<max_channels == 6 ? 4 : 1, upper>,
                                                 multiply_points<max_channels == 6 ? 5 : 1, upper>,
                                                 multiply_points<max_channels == 6 ? 6 : 1, upper>};

// Floats of a block's sums: [L of Kp][plane][c][L], then db [Kp].
inline std::int64_t weight_sums(const ImagesPlan& plan) { return (planes5 * plan.p.C + 1) * plan.Kp; }

// t [i][v][image][L] = A dy of the columns of a tile, for L output channels; the sum of dy is added to db.
// dy: [image][position][L].
inline void transform_dout_channels(const ImagesPlan& plan, const Douts& dout, std::int64_t images,
                                    std::int64_t tile, const float* dy, float* t, float* db) {
  const std::int64_t positions = dout.positions();
  Vec total{};
  for (std::int64_t n = 0; n < images; ++n) {
    Vec d[2][2];
    dout.tile(dy + n * dout.turned(positions), positions * L, tile / plan.columns, tile % plan.columns, d);
    total += (d[0][0] + d[0][1]) + (d[1][0] + d[1][1]);
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      Vec out[F5::n];
      F5::dout({d[0][v], d[1][v]}, out);
#pragma GCC unroll 6
      for (int i = 0; i < F5::n; ++i) store(t + ((i * 2 + v) * L + n) * L, out[i]);
    }
  }
  store(db, load(db) + total);
}

// The sums of one block; only db where images is null.
inline void weight_gradient(const ImagesPlan& plan, const Douts& dout, const float* images,
                            std::int64_t block, float* sums) {
  const Conv2dParams& p = plan.p;
  const std::int64_t count = plan.images(block), positions = dout.positions(), dy = dout.turned(positions);
  const std::int64_t tile_size = planes5 * p.C * L, t_size = halves5 * L * L;
  const Scratch<float> scratch(plan.x_size() + tile_size + t_size + count * dy);
  float *x = scratch.data(), *v = x + plan.x_size(), *t = v + tile_size, *dys = t + t_size;
  clear(sums, weight_sums(plan) / L);
  if (images) turn_images(plan, images, block, 0, plan.Hp, x);
  float* db = sums + planes5 * p.C * plan.Kp;
  const std::int64_t plane = p.C * L;
  for (std::int64_t k = 0; k < p.K; k += L) {
    for (std::int64_t n = 0; n < count; ++n)
      dout.turn(((block * L + n) * p.K + k) * positions, positions, p.K - k, positions, dys + n * dy);
    for (std::int64_t tile = 0; tile < plan.tiles; ++tile) {
      transform_dout_channels(plan, dout, count, tile, dys, t, db + k);
      if (!images) continue;
      transform_tile(plan, x + plan.corner(tile), v, L, plane);
      for (int half = 0; half < 2 * F5::n; ++half)
        for (std::int64_t c = 0; c < p.C; c += max_channels) {
          const std::int64_t some = min_of<std::int64_t>(max_channels, p.C - c);
          const std::int64_t at = half * 3 * plane + c * L;
          (half % 2 ? multiply_points_of<true> : multiply_points_of<false>)[some](
              count, t + half / 2 * 2 * L * L, v + at, plane, sums + k * planes5 * p.C + at, plane);
        }
    }
  }
}

// Adds the blocks' sums to the first one's, in order, and makes dw and db of them.
inline void finish_weight_gradient(const ImagesPlan& plan, float* sums, float* dw, float* db) {
  const Conv2dParams& p = plan.p;
  constexpr int taps = F5::r * F5::r;
  const std::int64_t size = weight_sums(plan), length = p.C * taps;
  for (std::int64_t block = 1; block < plan.blocks; ++block)
    for (std::int64_t i = 0; i < size; i += L)
      store(sums + i, load(sums + i) + load(sums + block * size + i));
  if (db)
    for (std::int64_t k = 0; k < p.K; ++k) db[k] = sums[planes5 * p.C * plan.Kp + k];
  if (!dw) return;
  const Scratch<float> dg(length * L);
  for (std::int64_t k = 0; k < p.K; k += L) {
    const float* s = sums + k * planes5 * p.C;
    for (std::int64_t c = 0; c < p.C; ++c) weight_gradient<F5>(s + c * L, p.C * L, dg.data() + c * taps * L);
    turn_out(dg.data(), length, min_of<std::int64_t>(L, p.K - k), length, dw + k * length);
  }
}

}  // namespace weft::cpu::WEFT_ISA
