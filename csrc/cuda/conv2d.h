// What the methods of conv2d share, and their entry points: each does the problem and returns true, or
// declines it. The contract is in ops/conv2d.h.
#pragma once
#include "cuda/kernels.h"

namespace weft::cuda {

// Steps, in elements, from one image, channel, row and pixel to the next.
template <class Index>
struct ImageSteps {
  Index n, c, h, w;
};
template <class Index>
__host__ __device__ constexpr ImageSteps<Index> image_steps(bool channels_last,
                                                            std::type_identity_t<Index> channels,
                                                            std::type_identity_t<Index> height,
                                                            std::type_identity_t<Index> width) {
  if (channels_last) return {height * width * channels, 1, width * channels, channels};
  return {channels * height * width, height * width, width, 1};
}

// Whether 32 bits hold all places of rows and columns, in the padding and a tile beyond it too; but for the
// simple method all take that for granted.
inline bool has_small_options(const Conv2dParams& p) {
  constexpr std::int64_t most = std::int64_t{1} << 20;
  return p.stride_h <= most && p.stride_w <= most && p.dilation_h <= most && p.dilation_w <= most &&
         p.pad_top <= most && p.pad_bottom <= most && p.pad_left <= most && p.pad_right <= most;
}

// Products and sums as the definition has them, one thread per output; of any type, sums in double. Take
// everything.
void conv2d_simple_forward(Stream& stream, const Conv2dForwardArgs& a);
void conv2d_simple_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a);
void conv2d_simple_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a);

// groups = C = K, 3x3 to 7x7, stride 1 or 2.
bool conv2d_depthwise_forward(Stream& stream, const Conv2dForwardArgs& a);
bool conv2d_depthwise_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a);
bool conv2d_depthwise_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a);

// Few input channels, 3, 5 or 7 columns; forward has them with strides of 1 and 2 along the columns.
bool conv2d_takes_direct(const Conv2dParams& p, DType dtype);
bool conv2d_direct_forward(Stream& stream, const Conv2dForwardArgs& a);
bool conv2d_direct_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a);

// Matrix products over pixels and taps that are gathered from the images, float32 of less than 2^31 elements.
bool conv2d_takes_implicit_gemm(const Conv2dParams& p, DType dtype);
bool conv2d_implicit_gemm_forward(Stream& stream, const Conv2dForwardArgs& a);
bool conv2d_implicit_gemm_backward_input(Stream& stream,
                                         const Conv2dBackwardInputArgs& a);  // not of large strides
bool conv2d_implicit_gemm_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a);

// db[k] = sum over n, p, q of dout.
void conv2d_bias_gradient(Stream& stream, const Conv2dBackwardWeightArgs& a);

}  // namespace weft::cuda
