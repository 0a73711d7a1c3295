// Convolution, ReLU and 2x2 max-pooling of few channels on small images: the layers of LeNet.
#pragma once
#include "cuda/kernels.h"

namespace weft::cuda {

// Whether the kernel took the problem.
bool conv2d_relu_max_pool2d_tiled(Stream& stream, const Conv2dReluMaxPool2dArgs& args);
// What is left to do: `args` without the gradients that the kernels took. Whether they take dx, or dw and db,
// does not depend on what else is asked for.
Conv2dReluMaxPool2dBackwardArgs conv2d_relu_max_pool2d_tiled_backward(
    Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& args);

// What both ask: float32, 2x2 windows of a dense convolution with 3x3 or 5x5 taps, and images of which a few
// lie in shared memory.
inline bool conv2d_relu_max_pool2d_tiles(const Conv2dParams& p, const PoolWindow& pool, DType dtype) {
  return dtype == DType::float32 && pool.h == 2 && pool.w == 2 && p.groups == 1 && p.stride_h == 1 &&
         p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1 && p.R == p.S && (p.R == 3 || p.R == 5) &&
         p.C <= 32 && p.K <= 64 && p.H <= 64 && p.W <= 64 && pool.PP <= 64 && pool.PQ <= 64 && p.N > 0 &&
         p.C > 0 && p.N < 1 << 20;
}

}  // namespace weft::cuda
