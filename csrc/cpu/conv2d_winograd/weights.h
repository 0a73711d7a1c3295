// The weight's side: U = G g G^T for forward and the gradient by the input, dg = G^T S G for that by the
// weight.
//
//   U [plane][panel of 2 L output channels][input channel][2 L]
//
// The last panel has one vector if that is enough. Lanes are output channels. A run of (input channel, r, s)
// of L output channels is turned by squares of L x L. For the gradient by the input the roles change: the
// lanes are input channels, and the filter is turned by 180 degrees.
#pragma once
#include "cpu/conv2d_winograd/output.h"
#include "cpu/conv2d_winograd/product.h"

namespace weft::cpu::WEFT_ISA {

struct Filters {
  const float *data, *end;  // (K, C, R, S)
  std::int64_t outs, ins;   // channels of the convolution that is computed
  bool turned;              // gradient by the input: outs = C, ins = K, the filter is turned
};

[[gnu::always_inline]] inline int panel_vectors(std::int64_t outs, std::int64_t p) {
  return outs - p * panel > L ? 2 : 1;
}

// g [r r][L], taps in the order of the filter that is applied, to the planes at u.
template <class F>
[[gnu::always_inline]] inline void weight_planes(const Vec (&g)[F::r * F::r], float* u, std::int64_t plane) {
  Vec t[F::n][F::r];
#pragma GCC unroll 5
  for (int j = 0; j < F::r; ++j) {
    Vec in[F::r], out[F::n];
#pragma GCC unroll 5
    for (int i = 0; i < F::r; ++i) in[i] = g[i * F::r + j];
    F::weight(in, out);
#pragma GCC unroll 7
    for (int i = 0; i < F::n; ++i) t[i][j] = out[i];
  }
#pragma GCC unroll 7
  for (int i = 0; i < F::n; ++i) {
    Vec out[F::n];
    F::weight(t[i], out);
#pragma GCC unroll 7
    for (int j = 0; j < F::n; ++j) store(u + (i * F::n + j) * plane, out[j]);
  }
}

// [length][L] = `rows` rows of `length` numbers, `stride` apart, turned. Reads nothing from `end` on.
[[gnu::noinline]] inline void turn_rows(const float* from, std::int64_t stride, std::int64_t rows,
                                        std::int64_t length, const float* end, float* to) {
  for (std::int64_t f = 0; f < length; f += L) {
    const std::int64_t count = min_of<std::int64_t>(L, length - f);
    Vec r[L];
    if (from + (rows - 1) * stride + f + L <= end) {
      load_transposed(from + f, stride, rows, r);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) {
        r[i] = Vec{};
        if (i < rows)
          for (std::int64_t j = 0; j < count; ++j) r[i][j] = from[i * stride + f + j];
      }
      transpose(r);
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i)
      if (i < count) store(to + (f + i) * L, r[i]);
  }
}

// The same for taps in memory, `step` numbers apart from g on: a step of -L turns the filter.
template <class F>
[[gnu::noinline]] void weight_planes(const float* g, std::int64_t step, float* u, std::int64_t plane) {
  Vec taps[F::r * F::r];
#pragma GCC unroll 25
  for (int tap = 0; tap < F::r * F::r; ++tap) taps[tap] = load(g + tap * step);
  weight_planes<F>(taps, u, plane);
}

// U of panel p and input channels c0 .. c1: u [plane][c1 - c0][vectors L].
template <class F>
inline void transform_weight(const Filters& w, std::int64_t p, std::int64_t c0, std::int64_t c1, float* u,
                             std::int64_t plane) {
  constexpr int taps = F::r * F::r;
  const int vectors = panel_vectors(w.outs, p);
  alignas(64) float turned[L * taps * L];
  for (int vector = 0; vector < vectors; ++vector) {
    const std::int64_t k0 = p * panel + vector * L, lanes = min_of<std::int64_t>(L, w.outs - k0);
    for (std::int64_t c = c0; c < c1; c += L) {
      const std::int64_t channels = min_of<std::int64_t>(L, c1 - c);
      if (!w.turned)
        turn_rows(w.data + (k0 * w.ins + c) * taps, w.ins * taps, lanes, channels * taps, w.end, turned);
      for (std::int64_t i = 0; i < channels; ++i) {
        if (w.turned) turn_rows(w.data + ((c + i) * w.outs + k0) * taps, taps, lanes, taps, w.end, turned);
        float* to = u + ((c + i - c0) * vectors + vector) * L;
        if (w.turned)
          weight_planes<F>(turned + (taps - 1) * L, -L, to, plane);
        else
          weight_planes<F>(turned + i * taps * L, L, to, plane);
      }
    }
  }
}

// dg [r r][L] of one input channel from its S, planes `plane` apart.
template <class F>
[[gnu::always_inline]] inline void weight_gradient(const float* s, std::int64_t plane, float* dg) {
  Vec t[F::r][F::n];
#pragma GCC unroll 7
  for (int j = 0; j < F::n; ++j) {
    Vec in[F::n], out[F::r];
#pragma GCC unroll 7
    for (int i = 0; i < F::n; ++i) in[i] = load(s + (i * F::n + j) * plane);
    F::dweight(in, out);
#pragma GCC unroll 5
    for (int i = 0; i < F::r; ++i) t[i][j] = out[i];
  }
#pragma GCC unroll 5
  for (int i = 0; i < F::r; ++i) {
    Vec out[F::r];
    F::dweight(t[i], out);
#pragma GCC unroll 5
    for (int j = 0; j < F::r; ++j) store(dg + (i * F::r + j) * L, out[j]);
  }
}

}  // namespace weft::cpu::WEFT_ISA
