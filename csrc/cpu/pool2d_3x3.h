// Pooling with windows of 3x3, stride 1 or 2, padding 1, float32.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

// Each returns false for a problem that it does not take: then nothing was written.
bool max_pool2d_3x3_forward(const MaxPool2dArgs& a);
bool avg_pool2d_3x3(const AvgPool2dArgs& a, bool backward);

}  // namespace weft::cpu::WEFT_ISA
