// Pooling; see ops/pool2d.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void max_pool2d_forward(Stream& stream, const MaxPool2dArgs& a) { reference::max_pool2d_forward(stream, a); }
void max_pool2d_backward(Stream& stream, const MaxPool2dBackwardArgs& a) {
  reference::max_pool2d_backward(stream, a);
}
void avg_pool2d_forward(Stream& stream, const AvgPool2dArgs& a) { reference::avg_pool2d_forward(stream, a); }
void avg_pool2d_backward(Stream& stream, const AvgPool2dArgs& a) {
  reference::avg_pool2d_backward(stream, a);
}
void lp_pool2d_forward(Stream& stream, const LpPool2dArgs& a) { reference::lp_pool2d_forward(stream, a); }
void lp_pool2d_backward(Stream& stream, const LpPool2dBackwardArgs& a) {
  reference::lp_pool2d_backward(stream, a);
}

}  // namespace weft::cpu::WEFT_ISA
