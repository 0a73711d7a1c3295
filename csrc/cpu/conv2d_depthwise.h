// Convolution with one input channel a group, float32 and float64.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

// Each returns false for a problem that it does not take: then nothing was written.
bool conv2d_depthwise_forward(const Conv2dForwardArgs& a);
bool conv2d_depthwise_backward_input(const Conv2dBackwardInputArgs& a);
bool conv2d_depthwise_backward_weight(const Conv2dBackwardWeightArgs& a);
// The windows of 3x3 with stride 1 or 2 and padding 1, float32; else false.
bool conv2d_depthwise_3x3_forward(const Conv2dForwardArgs& a);
bool conv2d_depthwise_3x3_backward_input(const Conv2dBackwardInputArgs& a);
bool conv2d_depthwise_3x3_backward_weight(const Conv2dBackwardWeightArgs& a);

}  // namespace weft::cpu::WEFT_ISA
