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

#include "cpu/conv2d_winograd/gradient.h"
#include "cpu/conv2d_winograd/phases.h"

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

// f(index into (K, C, 3, 3), index into (K, 4 C, 2, 2)) for every tap.
template <class Each>
void for_each_tap(const Conv2dParams& p, Each&& f) {
  parallel_tasks(p.K, p.K * p.C * 9, [&](std::int64_t k) {
    for (std::int64_t c = 0; c < p.C; ++c)
      for (std::int64_t r = 0; r < 3; ++r)
        for (std::int64_t s = 0; s < 3; ++s) {
          const std::int64_t channel = (r % 2 * p.C + c) * 2 + s % 2;
          f(((k * p.C + c) * 3 + r) * 3 + s, ((k * 4 * p.C + channel) * 2 + r / 2) * 2 + s / 2);
        }
  });
}

std::int64_t taps(const Conv2dParams& p) { return p.K * 4 * p.C * 4; }

// The filter as (K, 4 C, 2, 2) in `w`.
Filters filters(const Conv2dParams& p, const void* weight, bool turned, float* w) {
  parallel_ranges(taps(p), 4096, taps(p) / 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) w[i] = 0;
  });
  for_each_tap(p,
               [&](std::int64_t from, std::int64_t to) { w[to] = static_cast<const float*>(weight)[from]; });
  return {w, w + taps(p), turned ? 4 * p.C : p.K, turned ? p.K : 4 * p.C, turned};
}

}  // namespace

bool conv2d_strided_forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype, p.P, p.Q)) return false;
  const Scratch<float> w(taps(p));
  const Phases x{static_cast<const float*>(a.x), p.C, p.H, p.W, p.pad_top, p.pad_left};
  const Outputs out{static_cast<float*>(a.out),
                    static_cast<const float*>(a.bias),
                    a.activation == Activation::relu,
                    p.K,
                    p.P,
                    p.Q};
  convolve<F>(p.N, x, filters(p, a.weight, false, w.data()), out);
  return true;
}

bool conv2d_strided_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  // Every pixel of dx is in the P + 1 rows and Q + 1 columns of phases that the filter reaches, or beyond
  // them and zero.
  const std::int64_t rows = max_of(p.P + 1, ceil_div(p.H + p.pad_top, 2)),
                     columns = max_of(p.Q + 1, ceil_div(p.W + p.pad_left, 2));
  if (!takes(p, a.dtype, rows, columns)) return false;
  const Scratch<float> w(taps(p));
  const Images dout{static_cast<const float*>(a.dout), p.K, p.P, p.Q, 1, 1};
  const PhaseOutputs dx{
      static_cast<float*>(a.dx), p.C, p.H, p.W, p.pad_top, p.pad_left, 4 * p.C, rows, columns};
  convolve<F>(p.N, dout, filters(p, a.weight, true, w.data()), dx);
  return true;
}

bool conv2d_strided_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  // The sums of more channels would not stay in the cache.
  if (!takes(p, a.dtype, p.P, p.Q) || p.C * p.K > 64 * 128) return false;
  const Scratch<float> dw(taps(p));
  const Phases x{static_cast<const float*>(a.x), p.C, p.H, p.W, p.pad_top, p.pad_left};
  const Images dout{static_cast<const float*>(a.dout), p.K, p.P, p.Q, 0, 0};
  weight_gradient<F>(p.N, x, dout, {dw.data(), static_cast<float*>(a.db), p.K, 4 * p.C});
  for_each_tap(p, [&](std::int64_t to, std::int64_t from) { static_cast<float*>(a.dw)[to] = dw[from]; });
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
