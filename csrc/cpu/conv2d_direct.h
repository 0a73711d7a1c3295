// Convolution with stride 1 straight from padded images: no im2col, no packing of activations.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

// Each returns false for a problem that it does not take: then nothing was written.
bool conv2d_direct_forward(const Conv2dForwardArgs& a);
bool conv2d_direct_backward_input(const Conv2dBackwardInputArgs& a);
bool conv2d_direct_backward_weight(const Conv2dBackwardWeightArgs& a);

}  // namespace weft::cpu::WEFT_ISA
