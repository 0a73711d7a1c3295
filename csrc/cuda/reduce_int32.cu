// Reductions of int32; see reduce_kernels.h.
#include "cuda/reduce_policy.h"

namespace weft::cuda {

void reduce_int32(Stream& stream, const ReduceArgs& args, const Finish& finish) {
  reduce_numbers<std::int32_t>(stream, args, finish);
}

}  // namespace weft::cuda
