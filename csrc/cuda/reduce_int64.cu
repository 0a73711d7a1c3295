// Reductions of int64; see reduce_kernels.h.
#include "cuda/reduce_policy.h"

namespace weft::cuda {

void reduce_int64(Stream& stream, const ReduceArgs& args, const Finish& finish) {
  reduce_numbers<std::int64_t>(stream, args, finish);
}

}  // namespace weft::cuda
