#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void copy(Stream&, const CopyArgs&) { throw StateError("cuda: copy is not written yet"); }
void fill(Stream&, const FillArgs&) { throw StateError("cuda: fill is not written yet"); }
void unary(Stream&, const UnaryArgs&) { throw StateError("cuda: unary is not written yet"); }
void binary(Stream&, const BinaryArgs&) { throw StateError("cuda: binary is not written yet"); }
void where(Stream&, const WhereArgs&) { throw StateError("cuda: where is not written yet"); }
void arange(Stream&, const ArangeArgs&) { throw StateError("cuda: arange is not written yet"); }

}  // namespace weft::cuda
