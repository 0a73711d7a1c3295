// The gradient of a convolution's input for few channels, float32, stride 1, one group.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

// Returns false for a problem that it does not take: then nothing was written.
bool conv2d_runs_backward_input(const Conv2dBackwardInputArgs& a);

}  // namespace weft::cpu::WEFT_ISA
