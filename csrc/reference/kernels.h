// The naive kernels: each formula written down once, a few lines each, for every dtype. They are the oracle
// of the tests, the last entry of every policy, and the place to read what an operation is.
#pragma once
#include "backend.h"

namespace weft::reference {

WEFT_KERNELS(WEFT_DECLARE_KERNEL)

extern const Backend table;

}  // namespace weft::reference
