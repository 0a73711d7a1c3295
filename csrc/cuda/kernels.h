// What every source of this folder includes: the entry points of the CUDA backend, the device language, and
// what a launch needs of the runtime.
#pragma once
#include "backend.h"
#include "cuda/device/device.h"
#include "cuda/launch.h"

namespace weft::cuda {

WEFT_KERNELS(WEFT_DECLARE_KERNEL)

}  // namespace weft::cuda
