// One function for each file of this folder: it adds its family to the module. Bindings turn Python values
// into the arguments of ops/ and release the GIL around the call; they hold no logic.
#pragma once
#include "bindings/casters.h"

#define WEFT_BINDINGS(FAMILY) \
  FAMILY(array)               \
  FAMILY(runtime)             \
  FAMILY(profile)             \
  FAMILY(elementwise)         \
  FAMILY(activation)          \
  FAMILY(reduce)              \
  FAMILY(gemm)                \
  FAMILY(conv2d)              \
  FAMILY(pool2d)              \
  FAMILY(norm)                \
  FAMILY(softmax)             \
  FAMILY(loss)                \
  FAMILY(index)               \
  FAMILY(random)              \
  FAMILY(optimizer)           \
  FAMILY(data)                \
  FAMILY(replay)

namespace weft {

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

#define WEFT_DECLARE_BINDING(family) void bind_##family(py::module_& m);
WEFT_BINDINGS(WEFT_DECLARE_BINDING)

}  // namespace weft
