// 3x3 and 5x5 convolution with stride 1 by Winograd's minimal filtering: out = A^T [(G w G^T) . (B^T x B)] A
// on overlapping tiles, summed over input channels, which for each of the n^2 products of a tile is a matrix
// product over channels.
//
//   fast       F(4x4,3x3), a quarter of the definition's multiplications; F(2x2,5x5), 36 of 100
//   accurate   F(2x2,3x3), four ninths, with the error of the definition; 5x5 goes to another method,
//              and so does its gradient by the weight
//
//   conv2d_winograd/algorithm.h   the matrices            transpose.h   pixels to channels and back
//   tiles.h                       tiles and blocks        product.h     the inner loops
//   input.h, output.h, weights.h  transforms              convolve.h, gradient.h   the order of work
//
// The gradient by the input is the same convolution of dout with the turned filter and padding R - 1 - pad;
// that by the weight takes the transposed algorithm on the same tiles. Takes float32, any size of image and
// number of channels, padding up to R - 1 on each side, one group. Invariant: every output is written (=),
// none is read.
#include "cpu/conv2d_winograd.h"

#include "cpu/conv2d_winograd/gradient.h"

namespace weft::cpu::WEFT_ISA {

namespace {

// Points along one axis of all tiles: the products are the square of this, where the definition has R S P Q.
template <class F>
std::int64_t points(std::int64_t size) {
  const Axis axis(size, F::m);
  return axis.count * F::n - (axis.count - axis.wide);
}

bool right_shape(const Conv2dParams& p, DType dtype) {
  return dtype == DType::float32 && (p.R == 3 || p.R == 5) && p.S == p.R && p.stride_h == 1 &&
         p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1 && p.groups == 1 && p.pad_top < p.R &&
         p.pad_bottom < p.R && p.pad_left < p.S && p.pad_right < p.S;
}

// Calls run with the algorithm, or returns false: tiny images and few channels are quicker by other methods.
// rows, columns: of the image that is cut into tiles.
template <class Run>
bool choose(const Conv2dParams& p, DType dtype, std::int64_t rows, std::int64_t columns, Run&& run) {
  if (!right_shape(p, dtype) || p.C < 16 || p.K < 16 || p.precision == ConvPrecision::direct) return false;
  const auto run_if_fewer = [&](auto f) {
    using F = decltype(f);
    if (10 * points<F>(rows) * points<F>(columns) >= 6 * p.R * p.S * p.P * p.Q) return false;
    run(f);
    return true;
  };
  const bool fast = p.precision == ConvPrecision::fast;
  if (p.R == 5) return fast && run_if_fewer(F5{});
  return fast ? run_if_fewer(F4{}) : run_if_fewer(F2{});
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
  const Outputs out = outputs_of(a);
  return choose(p, a.dtype, p.P, p.Q, [&](auto f) { convolve<decltype(f)>(p.N, x, w, out); });
}

bool conv2d_winograd_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  const Images dout{
      static_cast<const float*>(a.dout), p.K, p.P, p.Q, p.R - 1 - p.pad_top, p.S - 1 - p.pad_left};
  const Filters w = filters(p, a.weight, true);
  const Outputs dx{static_cast<float*>(a.dx), nullptr, false, p.C, p.H, p.W};
  return choose(p, a.dtype, p.H, p.W, [&](auto f) { convolve<decltype(f)>(p.N, dout, w, dx); });
}

bool conv2d_winograd_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const Images x{static_cast<const float*>(a.x), p.C, p.H, p.W, p.pad_top, p.pad_left};
  const Images dout{static_cast<const float*>(a.dout), p.K, p.P, p.Q, 0, 0};
  const Gradient g{static_cast<float*>(a.dw), static_cast<float*>(a.db), p.K, p.C};
  return p.R == 3 && choose(p, a.dtype, p.P, p.Q, [&](auto f) {
           if constexpr (decltype(f)::r == 3) weight_gradient<decltype(f)>(p.N, x, dout, g);
         });
}

}  // namespace weft::cpu::WEFT_ISA
