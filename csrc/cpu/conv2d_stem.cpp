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

#include "cpu/conv2d_winograd/stride_2.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t forward_tiles = 56, stem_tiles = 80;  // of a block: two rows of the usual image

// Fewer output channels or tiles than these are quicker by other methods.
bool takes(const Conv2dParams& p, DType dtype) {
  return dtype == DType::float32 && p.precision == ConvPrecision::fast && p.R == 7 && p.S == 7 &&
         p.stride_h == 2 && p.stride_w == 2 && p.dilation_h == 1 && p.dilation_w == 1 && p.groups == 1 &&
         p.C <= 4 && p.K >= 16 && p.P >= 6 && p.Q >= 6;
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
  const Scratch<float> w(phase_taps(p));
  const Phases x = phases_of(p, a.x);
  const Outputs out =
      outputs_of(a, stores_lines && leaves_cache(4 * p.N * (p.C * p.H * p.W + p.K * p.P * p.Q)));
  by_blocks<F7>(p, x, phase_filters(p, a.weight, false, w.data()), out, forward_tiles);
  return true;
}

bool conv2d_stem_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype)) return false;
  const Scratch<float> w(phase_taps(p));
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
  by_blocks<F3>(p, dout, phase_filters(p, a.weight, true, w.data()), dx, stem_tiles);
  return true;
}

bool conv2d_stem_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype)) return false;
  phase_weight_gradient<F3>(a);
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
