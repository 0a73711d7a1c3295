// Reductions of float64; see reduce_kernels.h.
#include "cuda/reduce_policy.h"

namespace weft::cuda {

void reduce_float64(Stream& stream, const ReduceArgs& args, const Finish& finish) {
  reduce_real<double>(stream, args, finish);
}

}  // namespace weft::cuda
