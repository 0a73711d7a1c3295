#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void fma_loop(Stream&, const FmaLoopArgs&) { throw StateError("cuda: fma_loop is not written yet"); }

}  // namespace weft::cuda
