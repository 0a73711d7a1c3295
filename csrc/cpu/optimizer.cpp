// One step of each optimizer over a flat buffer; see ops/optimizer.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void sgd_step(Stream& stream, const SgdArgs& a) { reference::sgd_step(stream, a); }
void adagrad_step(Stream& stream, const AdagradArgs& a) { reference::adagrad_step(stream, a); }
void rmsprop_step(Stream& stream, const RmspropArgs& a) { reference::rmsprop_step(stream, a); }
void adam_step(Stream& stream, const AdamArgs& a) { reference::adam_step(stream, a); }
void add_squares(Stream& stream, const AddSquaresArgs& a) { reference::add_squares(stream, a); }
void clip_scale(Stream& stream, const ClipScaleArgs& a) { reference::clip_scale(stream, a); }

}  // namespace weft::cpu::WEFT_ISA
