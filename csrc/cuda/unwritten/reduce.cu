#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void reduce(Stream&, const ReduceArgs&) { throw StateError("cuda: reduce is not written yet"); }

}  // namespace weft::cuda
