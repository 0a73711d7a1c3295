// Random numbers and dropout; see ops/random.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void random_fill(Stream& stream, const RandomArgs& a) { reference::random_fill(stream, a); }
void dropout(Stream& stream, const DropoutArgs& a) { reference::dropout(stream, a); }

}  // namespace weft::cpu::WEFT_ISA
