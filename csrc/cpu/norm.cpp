// Batch and row normalization; see ops/norm.h.
#include "cpu/kernels.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void batch_norm_forward(Stream& stream, const BatchNormArgs& a) { reference::batch_norm_forward(stream, a); }
void batch_norm_backward(Stream& stream, const BatchNormBackwardArgs& a) {
  reference::batch_norm_backward(stream, a);
}
void row_norm_forward(Stream& stream, const RowNormArgs& a) { reference::row_norm_forward(stream, a); }
void row_norm_backward(Stream& stream, const RowNormBackwardArgs& a) {
  reference::row_norm_backward(stream, a);
}

}  // namespace weft::cpu::WEFT_ISA
