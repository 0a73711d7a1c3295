// Checks of an array's elements; see ops/check.h.
#include "cpu/kernels.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void check_values(Stream& stream, const CheckValuesArgs& a) { reference::check_values(stream, a); }

}  // namespace weft::cpu::WEFT_ISA
