// Reductions of uint8, and of bool, which is a byte of 0 or 1; see reduce_kernels.h.
#include "cuda/reduce_policy.h"

namespace weft::cuda {

void reduce_bytes(Stream& stream, const ReduceArgs& args, const Finish& finish) {
  reduce_numbers<std::uint8_t>(stream, args, finish);
}

}  // namespace weft::cuda
