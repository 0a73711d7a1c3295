// 7x7 convolution with stride 2 of images with up to four channels (the "stem" of residual networks).
//
// Pixels taken two by two make 4 C channels out of C, and the 7x7 filter with stride 2 one of 4x4 with stride
// 1 (the last row and column of its 8x8 are zero): see conv2d_winograd/phases.h. That convolution is done by
// F(4x4,4x4), 49 multiplications for 256, with the machinery of conv2d_winograd.cpp. All in all
// 4 C 49 / 16 = 12.25 C products an output where the definition has 49 C. The gradients take F(3x3,4x4), 16 C
// products, with a smaller error.
//
//   dx   the same convolution of dout with the turned filter, written back two by two
//   dw   the transposed algorithm; its 4x4 taps go back to 7x7
//
// Takes float32, one group, any padding. Invariant: every output is written (=), none is read.
#include "cpu/conv2d_stem.h"

#include "cpu/conv2d_winograd/gradient.h"
#include "cpu/conv2d_winograd/phases.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t forward_tiles = 56, stem_tiles = 80;  // of a block: two rows of the usual image

// Fewer output channels or tiles than these are quicker by other methods.
bool takes(const Conv2dParams& p, DType dtype) {
  return dtype == DType::float32 && p.precision == ConvPrecision::fast && p.R == 7 && p.S == 7 &&
         p.stride_h == 2 && p.stride_w == 2 && p.dilation_h == 1 && p.dilation_w == 1 && p.groups == 1 &&
         p.C <= 4 && p.K >= 16 && p.P >= 6 && p.Q >= 6;
}

// f(index into (K, C, 7, 7), index into (K, 4 C, 4, 4)) for every tap.
template <class F>
void for_each_tap(const Conv2dParams& p, F&& f) {
  for (std::int64_t k = 0; k < p.K; ++k)
    for (std::int64_t c = 0; c < p.C; ++c)
      for (std::int64_t r = 0; r < 7; ++r)
        for (std::int64_t s = 0; s < 7; ++s) {
          const std::int64_t channel = (r % 2 * p.C + c) * 2 + s % 2;
          f(((k * p.C + c) * 7 + r) * 7 + s, ((k * 4 * p.C + channel) * 4 + r / 2) * 4 + s / 2);
        }
}

std::int64_t taps(const Conv2dParams& p) { return p.K * 4 * p.C * 16; }

// The filter as (K, 4 C, 4, 4) in `w`.
Filters filters(const Conv2dParams& p, const void* weight, bool turned, float* w) {
  for (std::int64_t i = 0; i < taps(p); ++i) w[i] = 0;
  for_each_tap(p,
               [&](std::int64_t from, std::int64_t to) { w[to] = static_cast<const float*>(weight)[from]; });
  return {w, w + taps(p), turned ? 4 * p.C : p.K, turned ? p.K : 4 * p.C, turned};
}

// The order for small weights suits all: few channels, whatever K.
template <class F, class In, class Out>
void by_blocks(const Conv2dParams& p, const In& x, const Filters& w, const Out& out, std::int64_t tiles) {
  convolve_by_blocks<F>(x, w, out, Blocks(p.N, out.P, out.Q, F::m, tiles),
                        p.N * out.P * out.Q * w.ins * w.outs / 2);
}

}  // namespace

bool conv2d_stem_forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype)) return false;
  const Scratch<float> w(taps(p));
  const Phases x{static_cast<const float*>(a.x), p.C, p.H, p.W, p.pad_top, p.pad_left};
  const Outputs out{static_cast<float*>(a.out),
                    static_cast<const float*>(a.bias),
                    a.activation == Activation::relu,
                    p.K,
                    p.P,
                    p.Q,
                    stores_lines && leaves_cache(4 * p.N * (p.C * p.H * p.W + p.K * p.P * p.Q))};
  by_blocks<F7>(p, x, filters(p, a.weight, false, w.data()), out, forward_tiles);
  return true;
}

bool conv2d_stem_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype)) return false;
  const Scratch<float> w(taps(p));
  // Every pixel of dx is in the P + 3 rows and Q + 3 columns of phases that the filter reaches, or beyond it
  // and zero.
  const Images dout{static_cast<const float*>(a.dout), p.K, p.P, p.Q, 3, 3};
  const PhaseOutputs dx{static_cast<float*>(a.dx),
                        p.C,
                        p.H,
                        p.W,
                        p.pad_top,
                        p.pad_left,
                        4 * p.C,
                        max_of(p.P + 3, ceil_div(p.H + p.pad_top, 2)),
                        max_of(p.Q + 3, ceil_div(p.W + p.pad_left, 2))};
  by_blocks<F3>(p, dout, filters(p, a.weight, true, w.data()), dx, stem_tiles);
  return true;
}

bool conv2d_stem_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype)) return false;
  const Scratch<float> dw(taps(p));
  const Phases x{static_cast<const float*>(a.x), p.C, p.H, p.W, p.pad_top, p.pad_left};
  const Images dout{static_cast<const float*>(a.dout), p.K, p.P, p.Q, 0, 0};
  weight_gradient<F3>(p.N, x, dout, {dw.data(), static_cast<float*>(a.db), p.K, 4 * p.C});
  for_each_tap(p, [&](std::int64_t to, std::int64_t from) { static_cast<float*>(a.dw)[to] = dw[from]; });
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
