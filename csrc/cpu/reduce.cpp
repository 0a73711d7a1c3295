// Reductions; see ops/reduce.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void reduce(Stream& stream, const ReduceArgs& a) { reference::reduce(stream, a); }

}  // namespace weft::cpu::WEFT_ISA
