// CUDA's runtime interface, for host code: NVIDIA's, or the emulator's.
#pragma once

#if defined(WEFT_CUDA_EMULATED)
#include "emulated_runtime.h"
#else
#include <cuda_runtime_api.h>
#endif
