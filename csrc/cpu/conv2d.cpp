// Two-dimensional convolution; see ops/conv2d.h. Each entry is a policy: the first method that takes the
// problem does it.
//
//   channels last  images in that order have a policy of their own (conv2d_channels_last.cpp)
//   depthwise      one input channel a group: rows times a number, no matrix product could be filled
//   winograd       3x3 and 5x5, stride 1, many channels: a quarter of the products (conv2d_winograd.cpp)
//   images         5x5, few channels: likewise, with lanes of images (conv2d_winograd_images.cpp)
//   stem           7x7, stride 2, few channels: likewise, on pixels taken two by two (conv2d_stem.cpp)
//   strided        3x3, stride 2, many channels: likewise (conv2d_strided.cpp)
//   windows        many channels, any stride: a matrix product packed from padded planes (conv2d_windows.cpp)
//   outputs        stride 1, small images, outputs that fill the vectors (conv2d_outputs.cpp)
//   runs           dx of the same for few input channels (conv2d_runs.cpp)
//   direct         stride 1 and images that fit the cache: straight from padded planes (conv2d_direct.cpp)
//   im2col         everything else: a matrix product over columns, a piece at a time (conv2d_im2col.cpp)
//   reference      an activation that the others don't have, empty problems, images that are mostly padding
#include "cpu/conv2d_channels_last.h"
#include "cpu/conv2d_columns.h"
#include "cpu/conv2d_depthwise.h"
#include "cpu/conv2d_direct.h"
#include "cpu/conv2d_im2col.h"
#include "cpu/conv2d_outputs.h"
#include "cpu/conv2d_runs.h"
#include "cpu/conv2d_stem.h"
#include "cpu/conv2d_strided.h"
#include "cpu/conv2d_windows.h"
#include "cpu/conv2d_winograd.h"
#include "cpu/conv2d_winograd_images.h"
#include "cpu/denormals.h"
#include "cpu/kernels.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

bool is_for_reference(const Conv2dParams& p) {
  return p.N == 0 || p.C == 0 || p.K == 0 || p.P == 0 || p.Q == 0 || p.R == 0 || p.S == 0 ||
         is_mostly_padding(p);
}

}  // namespace

void conv2d_forward(Stream& stream, const Conv2dForwardArgs& a) {
  const FlushDenormals flush;
  if (is_for_reference(a.p)) return reference::conv2d_forward(stream, a);
  Conv2dForwardArgs plain = a;
  // Of the activations only relu is part of the methods; the others run over the output afterwards.
  const bool afterwards = a.activation != Activation::none && a.activation != Activation::relu;
  if (afterwards) plain.activation = Activation::none;
  if (a.p.channels_last)
    conv2d_channels_last_forward(stream, plain);
  else if (!conv2d_depthwise_forward(plain) && !conv2d_winograd_forward(plain) &&
           !conv2d_winograd_images_forward(plain) && !conv2d_stem_forward(plain) &&
           !conv2d_strided_forward(plain) && !conv2d_windows_forward(plain) &&
           !conv2d_outputs_forward(plain) && !conv2d_direct_forward(plain))
    conv2d_im2col_forward(plain);
  if (afterwards)
    activation_forward(
        stream, {a.activation, a.dtype, a.p.N * a.p.K * a.p.P * a.p.Q, a.out, a.out, a.activation_alpha});
}

void conv2d_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a) {
  const FlushDenormals flush;
  if (is_for_reference(a.p)) return reference::conv2d_backward_input(stream, a);
  if (a.p.channels_last) return conv2d_channels_last_backward_input(stream, a);
  if (conv2d_depthwise_backward_input(a) || conv2d_winograd_backward_input(a) ||
      conv2d_winograd_images_backward_input(a) || conv2d_stem_backward_input(a) ||
      conv2d_strided_backward_input(a) || conv2d_windows_backward_input(a) || conv2d_runs_backward_input(a) ||
      conv2d_direct_backward_input(a))
    return;
  conv2d_im2col_backward_input(a);
}

void conv2d_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a) {
  const FlushDenormals flush;
  if (is_for_reference(a.p)) return reference::conv2d_backward_weight(stream, a);
  if (a.p.channels_last) return conv2d_channels_last_backward_weight(stream, a);
  if (conv2d_depthwise_backward_weight(a) || conv2d_winograd_backward_weight(a) ||
      conv2d_winograd_images_backward_weight(a) || conv2d_stem_backward_weight(a) ||
      conv2d_strided_backward_weight(a) || conv2d_windows_backward_weight(a) ||
      conv2d_outputs_backward_weight(a) || conv2d_direct_backward_weight(a))
    return;
  conv2d_im2col_backward_weight(a);
}

}  // namespace weft::cpu::WEFT_ISA
