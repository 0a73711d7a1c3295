#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void conv2d_forward(Stream&, const Conv2dForwardArgs&) {
  throw StateError("cuda: conv2d_forward is not written yet");
}
void conv2d_backward_input(Stream&, const Conv2dBackwardInputArgs&) {
  throw StateError("cuda: conv2d_backward_input is not written yet");
}
void conv2d_backward_weight(Stream&, const Conv2dBackwardWeightArgs&) {
  throw StateError("cuda: conv2d_backward_weight is not written yet");
}

}  // namespace weft::cuda
