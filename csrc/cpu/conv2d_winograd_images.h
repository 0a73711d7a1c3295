// See conv2d_winograd_images.cpp. Each returns whether it took the problem.
#pragma once
#include "ops/conv2d_relu_max_pool2d.h"

namespace weft::cpu::WEFT_ISA {

bool conv2d_winograd_images_forward(const Conv2dForwardArgs& a);
bool conv2d_winograd_images_backward_input(const Conv2dBackwardInputArgs& a);
bool conv2d_winograd_images_backward_weight(const Conv2dBackwardWeightArgs& a);
bool conv2d_winograd_images_pooled_forward(const Conv2dReluMaxPool2dArgs& a);
bool conv2d_winograd_images_pooled_backward(const Conv2dReluMaxPool2dBackwardArgs& a);

}  // namespace weft::cpu::WEFT_ISA
