// 3x3 convolution with stride 1 by Winograd's minimal filtering: out = A^T [(G w G^T) . (B^T x B)] A on
// overlapping tiles, summed over input channels, which for each of the n^2 products of a tile is a matrix
// product over channels.
//
//   fast       F(4x4,3x3), a quarter of the definition's multiplications
//   accurate   F(2x2,3x3), four ninths, with the error of the definition
//
//   conv2d_winograd/algorithm.h   the matrices            transpose.h   pixels to channels and back
//   tiles.h                       tiles and blocks        product.h     the inner loops
//   input.h, output.h, weights.h  transforms              convolve.h, gradient.h   the order of work
//
// The gradient by the input is the same convolution of dout with the turned filter and padding 2 - pad; that
// by the weight takes the transposed algorithm on the same tiles. Takes float32, any size of image and number
// of channels, padding up to 2 on each side, one group. Invariant: every output is written (=), none is read.
#include "cpu/conv2d_winograd.h"

#include "cpu/conv2d_winograd/gradient.h"

namespace weft::cpu::WEFT_ISA {

namespace {

// Points along one axis of all tiles: the products are the square of this, where the definition has 9 P Q.
template <class F>
std::int64_t points(std::int64_t size) {
  const Axis axis(size, F::m);
  return axis.count * F::n - (axis.count - axis.wide);
}

bool right_shape(const Conv2dParams& p, DType dtype) {
  return dtype == DType::float32 && p.R == 3 && p.S == 3 && p.stride_h == 1 && p.stride_w == 1 &&
         p.dilation_h == 1 && p.dilation_w == 1 && p.groups == 1 && p.pad_top <= 2 && p.pad_bottom <= 2 &&
         p.pad_left <= 2 && p.pad_right <= 2;
}

// Calls run(F4{}) or run(F2{}), or returns false: tiny images and few channels are quicker by other methods.
// rows, columns: of the image that is cut into tiles.
template <class Run>
bool choose(const Conv2dParams& p, DType dtype, std::int64_t rows, std::int64_t columns, Run&& run) {
  if (!right_shape(p, dtype) || p.C < 16 || p.K < 16 || p.precision == ConvPrecision::direct) return false;
  const bool fast = p.precision == ConvPrecision::fast;
  const std::int64_t products =
      fast ? points<F4>(rows) * points<F4>(columns) : points<F2>(rows) * points<F2>(columns);
  if (10 * products >= 6 * 9 * p.P * p.Q) return false;
  if (fast)
    run(F4{});
  else
    run(F2{});
  return true;
}

Filters filters(const Conv2dParams& p, const void* weight, bool turned) {
  const auto* data = static_cast<const float*>(weight);
  return {data, data + p.K * p.C * p.R * p.S, turned ? p.C : p.K, turned ? p.K : p.C, turned};
}

}  // namespace

bool conv2d_winograd_forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  const Images x{static_cast<const float*>(a.x), p.C, p.H, p.W, p.pad_top, p.pad_left};
  const Filters w = filters(p, a.weight, false);
  const Outputs out{static_cast<float*>(a.out),
                    static_cast<const float*>(a.bias),
                    a.activation == Activation::relu,
                    p.K,
                    p.P,
                    p.Q};
  return choose(p, a.dtype, p.P, p.Q, [&](auto f) { convolve<decltype(f)>(p.N, x, w, out); });
}

bool conv2d_winograd_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  const Images dout{static_cast<const float*>(a.dout), p.K, p.P, p.Q, 2 - p.pad_top, 2 - p.pad_left};
  const Filters w = filters(p, a.weight, true);
  const Outputs dx{static_cast<float*>(a.dx), nullptr, false, p.C, p.H, p.W};
  return choose(p, a.dtype, p.H, p.W, [&](auto f) { convolve<decltype(f)>(p.N, dout, w, dx); });
}

bool conv2d_winograd_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const Images x{static_cast<const float*>(a.x), p.C, p.H, p.W, p.pad_top, p.pad_left};
  const Images dout{static_cast<const float*>(a.dout), p.K, p.P, p.Q, 0, 0};
  const Gradient g{static_cast<float*>(a.dw), static_cast<float*>(a.db), p.K, p.C};
  return choose(p, a.dtype, p.P, p.Q, [&](auto f) { weight_gradient<decltype(f)>(p.N, x, dout, g); });
}

}  // namespace weft::cpu::WEFT_ISA
