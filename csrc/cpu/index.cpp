// Reading and adding by index; see ops/index.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void index_select(Stream& stream, const IndexSelectArgs& a) { reference::index_select(stream, a); }
void index_add(Stream& stream, const IndexSelectArgs& a) { reference::index_add(stream, a); }
void gather(Stream& stream, const GatherArgs& a) { reference::gather(stream, a); }
void scatter_add(Stream& stream, const GatherArgs& a) { reference::scatter_add(stream, a); }
void one_hot(Stream& stream, const OneHotArgs& a) { reference::one_hot(stream, a); }

}  // namespace weft::cpu::WEFT_ISA
