#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void max_pool2d_forward(Stream&, const MaxPool2dArgs&) {
  throw StateError("cuda: max_pool2d_forward is not written yet");
}
void max_pool2d_backward(Stream&, const MaxPool2dBackwardArgs&) {
  throw StateError("cuda: max_pool2d_backward is not written yet");
}
void avg_pool2d_forward(Stream&, const AvgPool2dArgs&) {
  throw StateError("cuda: avg_pool2d_forward is not written yet");
}
void avg_pool2d_backward(Stream&, const AvgPool2dArgs&) {
  throw StateError("cuda: avg_pool2d_backward is not written yet");
}
void lp_pool2d_forward(Stream&, const LpPool2dArgs&) {
  throw StateError("cuda: lp_pool2d_forward is not written yet");
}
void lp_pool2d_backward(Stream&, const LpPool2dBackwardArgs&) {
  throw StateError("cuda: lp_pool2d_backward is not written yet");
}

}  // namespace weft::cuda
