// Convolution, ReLU and 2x2 max-pooling straight from the image, float32, stride 1, one group.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

// False for a problem that it does not take: then nothing was written.
bool conv2d_relu_max_pool2d_direct(const Conv2dReluMaxPool2dArgs& a);

}  // namespace weft::cpu::WEFT_ISA
