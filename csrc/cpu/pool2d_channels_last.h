// Pooling of images that lie channels last: policies of their own, which take every problem.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

void max_pool2d_channels_last_forward(const MaxPool2dArgs& a);
void max_pool2d_channels_last_backward(const MaxPool2dBackwardArgs& a);
void avg_pool2d_channels_last_forward(const AvgPool2dArgs& a);
void avg_pool2d_channels_last_backward(const AvgPool2dArgs& a);
void lp_pool2d_channels_last_forward(Stream& stream, const LpPool2dArgs& a);
void lp_pool2d_channels_last_backward(Stream& stream, const LpPool2dBackwardArgs& a);

}  // namespace weft::cpu::WEFT_ISA
