// 3x3 convolution with stride 2 of many channels: where the stages of residual networks begin.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

// Each returns false for a problem that it does not take: then nothing was written.
bool conv2d_strided_forward(const Conv2dForwardArgs& a);
bool conv2d_strided_backward_input(const Conv2dBackwardInputArgs& a);
bool conv2d_strided_backward_weight(const Conv2dBackwardWeightArgs& a);

}  // namespace weft::cpu::WEFT_ISA
