#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void activation_forward(Stream&, const ActivationArgs&) {
  throw StateError("cuda: activation_forward is not written yet");
}
void activation_backward(Stream&, const ActivationBackwardArgs&) {
  throw StateError("cuda: activation_backward is not written yet");
}

}  // namespace weft::cuda
