// Convolution whose lanes are output channels, float32, stride 1, one group.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

// Each returns false for a problem that it does not take: then nothing was written.
bool conv2d_outputs_forward(const Conv2dForwardArgs& a);
bool conv2d_outputs_backward_weight(const Conv2dBackwardWeightArgs& a);

}  // namespace weft::cpu::WEFT_ISA
