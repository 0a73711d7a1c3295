#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void gemm(Stream&, const GemmArgs&) { throw StateError("cuda: gemm is not written yet"); }

}  // namespace weft::cuda
