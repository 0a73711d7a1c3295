#pragma once
#include "cuda/kernels.h"

namespace weft::cuda {

// A copy between two dtypes.
void copy_cast(Stream& stream, const CopyArgs& args);

}  // namespace weft::cuda
