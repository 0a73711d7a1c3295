// Convolution with many channels as a matrix product whose right side is never written down as a whole.
// false: the problem suits another method.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

bool conv2d_windows_forward(const Conv2dForwardArgs& a);
bool conv2d_windows_backward_input(const Conv2dBackwardInputArgs& a);
bool conv2d_windows_backward_weight(const Conv2dBackwardWeightArgs& a);

}  // namespace weft::cpu::WEFT_ISA
