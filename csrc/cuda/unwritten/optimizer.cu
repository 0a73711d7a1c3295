#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void sgd_step(Stream&, const SgdArgs&) { throw StateError("cuda: sgd_step is not written yet"); }
void adagrad_step(Stream&, const AdagradArgs&) { throw StateError("cuda: adagrad_step is not written yet"); }
void rmsprop_step(Stream&, const RmspropArgs&) { throw StateError("cuda: rmsprop_step is not written yet"); }
void adam_step(Stream&, const AdamArgs&) { throw StateError("cuda: adam_step is not written yet"); }
void add_squares(Stream&, const AddSquaresArgs&) { throw StateError("cuda: add_squares is not written yet"); }
void clip_scale(Stream&, const ClipScaleArgs&) { throw StateError("cuda: clip_scale is not written yet"); }

}  // namespace weft::cuda
