#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void conv2d_relu_max_pool2d(Stream&, const Conv2dReluMaxPool2dArgs&) {
  throw StateError("cuda: conv2d_relu_max_pool2d is not written yet");
}
void conv2d_relu_max_pool2d_backward(Stream&, const Conv2dReluMaxPool2dBackwardArgs&) {
  throw StateError("cuda: conv2d_relu_max_pool2d_backward is not written yet");
}

}  // namespace weft::cuda
