// Convolution as a matrix product over columns of the image, a piece of one image at a time.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

void conv2d_im2col_forward(const Conv2dForwardArgs& a);
void conv2d_im2col_backward_input(const Conv2dBackwardInputArgs& a);
void conv2d_im2col_backward_weight(const Conv2dBackwardWeightArgs& a);

}  // namespace weft::cpu::WEFT_ISA
