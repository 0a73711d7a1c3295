// Elementwise operations; see ops/elementwise.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void copy(Stream& stream, const CopyArgs& a) { reference::copy(stream, a); }
void fill(Stream& stream, const FillArgs& a) { reference::fill(stream, a); }
void unary(Stream& stream, const UnaryArgs& a) { reference::unary(stream, a); }
void binary(Stream& stream, const BinaryArgs& a) { reference::binary(stream, a); }
void where(Stream& stream, const WhereArgs& a) { reference::where(stream, a); }
void arange(Stream& stream, const ArangeArgs& a) { reference::arange(stream, a); }

}  // namespace weft::cpu::WEFT_ISA
