// Pooling of 2x2 windows that do not overlap, of 3x3 windows in steps of 2, and of whole planes; see
// pool2d_fast.cu.
#pragma once
#include "cuda/kernels.h"

namespace weft::cuda {

// Whether the kernels took the problem.
bool max_pool2d_fast(Stream& stream, const MaxPool2dArgs& args);
bool max_pool2d_backward_fast(Stream& stream, const MaxPool2dBackwardArgs& args);
bool avg_pool2d_fast(Stream& stream, const AvgPool2dArgs& args);
bool avg_pool2d_backward_fast(Stream& stream, const AvgPool2dArgs& args);

}  // namespace weft::cuda
