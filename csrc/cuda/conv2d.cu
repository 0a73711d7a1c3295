// Two-dimensional convolution; see ops/conv2d.h. Each entry is a policy: the first method that takes the
// problem does it.
//
//   depthwise       groups = C = K: bound by memory (conv2d_depthwise.cu)
//   direct          few input channels: no matrix product would be filled (conv2d_direct.cu, ..._weight.cu)
//   implicit GEMM   float32: a matrix product whose operand is gathered
//                   (conv2d_implicit_gemm.cu, ..._weight.cu)
//   simple          everything else: float64, arrays of 2^31 elements and more, empty sums, large options
//                   (conv2d_simple.cu)
//
// The methods add the bias and apply relu; the other activations run over the output afterwards.
#include "cuda/conv2d.h"

namespace weft::cuda {

void conv2d_forward(Stream& stream, const Conv2dForwardArgs& a) {
  Conv2dForwardArgs plain = a;
  const bool afterwards = a.activation != Activation::none && a.activation != Activation::relu;
  if (afterwards) plain.activation = Activation::none;
  if (!has_small_options(a.p) ||
      (!conv2d_depthwise_forward(stream, plain) && !conv2d_direct_forward(stream, plain) &&
       !conv2d_implicit_gemm_forward(stream, plain)))
    conv2d_simple_forward(stream, plain);
  if (afterwards)
    activation_forward(
        stream, {a.activation, a.dtype, a.p.N * a.p.K * a.p.P * a.p.Q, a.out, a.out, a.activation_alpha});
}

void conv2d_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a) {
  if (!has_small_options(a.p) ||
      (!conv2d_depthwise_backward_input(stream, a) && !conv2d_implicit_gemm_backward_input(stream, a)))
    conv2d_simple_backward_input(stream, a);
}

void conv2d_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a) {
  if (!has_small_options(a.p) ||
      (!conv2d_depthwise_backward_weight(stream, a) && !conv2d_direct_backward_weight(stream, a) &&
       !conv2d_implicit_gemm_backward_weight(stream, a)))
    conv2d_simple_backward_weight(stream, a);
  if (a.db && a.p.K > 0) conv2d_bias_gradient(stream, a);
}

}  // namespace weft::cuda
