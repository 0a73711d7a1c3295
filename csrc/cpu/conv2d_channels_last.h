// Convolution of images that lie channels last.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

// Policies of their own, which take every problem that is not empty; of activations none and relu.
void conv2d_channels_last_forward(Stream& stream, const Conv2dForwardArgs& a);
void conv2d_channels_last_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a);
void conv2d_channels_last_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a);

// Each of the following returns false for a problem that it does not take: then nothing was written.
// One input channel a group, 3x3, stride 1 or 2, padding 1, float32.
bool conv2d_last_depthwise_forward(const Conv2dForwardArgs& a);
bool conv2d_last_depthwise_backward_input(const Conv2dBackwardInputArgs& a);
bool conv2d_last_depthwise_backward_weight(const Conv2dBackwardWeightArgs& a);

}  // namespace weft::cpu::WEFT_ISA
