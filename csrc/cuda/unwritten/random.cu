#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void random_fill(Stream&, const RandomArgs&) { throw StateError("cuda: random_fill is not written yet"); }
void dropout(Stream&, const DropoutArgs&) { throw StateError("cuda: dropout is not written yet"); }

}  // namespace weft::cuda
