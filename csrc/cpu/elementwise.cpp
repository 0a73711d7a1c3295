// Elementwise operations; see ops/elementwise.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void copy(Stream& stream, const CopyArgs& a) { reference::copy(stream, a); }
void fill(Stream& stream, const FillArgs& a) { reference::fill(stream, a); }

}  // namespace weft::cpu::WEFT_ISA
