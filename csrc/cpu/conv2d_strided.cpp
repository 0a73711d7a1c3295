// 3x3 convolution with stride 2 of many channels by Winograd's filtering.
//
// Pixels taken two by two make 4 C channels out of C, and the 3x3 filter with stride 2 one of 2x2 with stride
// 1, whose last row and column are zero in the odd phases: see conv2d_winograd/phases.h. That convolution is
// done by F(5x5,2x2), 36 multiplications for 100, on the points and with the machinery of
// conv2d_winograd.cpp. All in all 4 C 36 / 25 = 5.8 C products an output where the definition has 9 C.
//
//   dx   the same convolution of dout with the turned filter, written back two by two
//   dw   the transposed algorithm; its 2x2 taps go back to 3x3
//
// Takes float32, one group, any padding. Invariant: every output is written (=), none is read.
#include "cpu/conv2d_strided.h"

#include "cpu/conv2d_winograd/stride_2.h"

namespace weft::cpu::WEFT_ISA {

namespace {

using F = F52;

// rows, columns: of the image that is cut into tiles. The products, 4 C for each point, are at most four
// fifths of the definition's; on the smallest vectors the transforms eat the gain.
bool takes(const Conv2dParams& p, DType dtype, std::int64_t rows, std::int64_t columns) {
  if (vector_bytes < 32 || dtype != DType::float32 || p.precision != ConvPrecision::fast || p.R != 3 ||
      p.S != 3 || p.stride_h != 2 || p.stride_w != 2 || p.dilation_h != 1 || p.dilation_w != 1 ||
      p.groups != 1 || p.C < 16 || p.K < 16)
    return false;
  const auto points = [](std::int64_t size) {
    const Axis axis(size, F::m);
    return axis.count * (F::n - 1) + axis.wide;
  };
  return 10 * 4 * points(rows) * points(columns) <= 8 * 9 * p.P * p.Q;
}

}  // namespace

bool conv2d_strided_forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype, p.P, p.Q)) return false;
  const Scratch<float> w(phase_taps(p));
  const Phases x = phases_of(p, a.x);
  const Outputs out = outputs_of(a);
  convolve<F>(p.N, x, phase_filters(p, a.weight, false, w.data()), out);
  return true;
}

bool conv2d_strided_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  // Every pixel of dx is in the P + 1 rows and Q + 1 columns of phases that the filter reaches, or beyond
  // them and zero.
  const std::int64_t rows = max_of(p.P + 1, ceil_div(p.H + p.pad_top, 2)),
                     columns = max_of(p.Q + 1, ceil_div(p.W + p.pad_left, 2));
  if (!takes(p, a.dtype, rows, columns)) return false;
  const Scratch<float> w(phase_taps(p));
  const Images dout{static_cast<const float*>(a.dout), p.K, p.P, p.Q, 1, 1};
  const PhaseOutputs dx{
      static_cast<float*>(a.dx), p.C, p.H, p.W, p.pad_top, p.pad_left, 4 * p.C, rows, columns};
  convolve<F>(p.N, dout, phase_filters(p, a.weight, true, w.data()), dx);
  return true;
}

bool conv2d_strided_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  // The sums of more channels would not stay in the cache.
  if (!takes(p, a.dtype, p.P, p.Q) || p.C * p.K > 64 * 128) return false;
  phase_weight_gradient<F>(a);
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
