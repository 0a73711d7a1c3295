// One function for each file of this folder: it adds its family to the module. Bindings turn Python values
// into the arguments of ops/ and release the GIL around the call; they hold no logic.
#pragma once
#include <pybind11/typing.h>

#include "bindings/casters.h"
#include "core/allocator.h"

#define WEFT_BINDINGS(FAMILY) \
  FAMILY(array)               \
  FAMILY(runtime)             \
  FAMILY(cuda)                \
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

// The counters of an allocator by name.
py::typing::Dict<py::str, py::int_> stats_dict(const MemoryStats& stats);

// Objects of a class come from its constructor alone: cls.__new__(cls), and copy and pickle by way of it,
// would make one without a C++ value. To be called before anything is defined on it.
void constructed_only(py::handle cls);
// The values of an enum are its members, the objects that there are: E(number) finds one, or is a ValueError.
void members_only(py::handle cls);

using ReleaseGil = py::call_guard<GilReleased>;

// To be called once: from the interpreter's end on, other threads than the one that ends it stay out of it.
void watch_for_the_end();

#define WEFT_DECLARE_BINDING(family) void bind_##family(py::module_& m);
WEFT_BINDINGS(WEFT_DECLARE_BINDING)

}  // namespace weft
