// Reductions of float32; see reduce_kernels.h.
#include "cuda/reduce_policy.h"

namespace weft::cuda {

void reduce_float32(Stream& stream, const ReduceArgs& args, const Finish& finish) {
  reduce_real<float>(stream, args, finish);
}

}  // namespace weft::cuda
