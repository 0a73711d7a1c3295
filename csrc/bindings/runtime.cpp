// What is built, what is in use, and the settings of the process.
#include <pybind11/typing.h>

#include "bindings/bindings.h"
#include "core/allocator.h"
#include "core/error.h"
#include "core/threads.h"
#include "cpu/isa.h"
#include "ops/limits.h"

namespace weft {

py::typing::Dict<py::str, py::int_> stats_dict(const MemoryStats& s) {
  py::typing::Dict<py::str, py::int_> result;
  result["allocated"] = s.allocated;
  result["reserved"] = s.reserved;
  result["peak"] = s.peak;
  result["hits"] = s.hits;
  result["misses"] = s.misses;
  return result;
}

void bind_runtime(py::module_& m) {
  m.def("num_threads", &num_threads, "How many threads a kernel may use; 1 after a fork.");
  m.def("set_num_threads", &set_num_threads, py::arg("count"),
        "How many threads a kernel may use. ValueError below 1 and beyond 1023. Results have the same bits "
        "for any "
        "number.");
  m.def("threads_runtime", &threads_runtime, "Whose threads those are, as \"OpenMP (libgomp)\".");
  m.def("available_isas", &cpu::available_isas,
        "The instruction sets that this build and this processor have, best last; 'reference' are the naive "
        "kernels.");
  m.def("isa", &cpu::isa, "The instruction set in use.");
  m.def(
      "set_isa", &cpu::set_isa, py::arg("name"),
      "Chooses the kernels of one instruction set for the whole process. ValueError if it is not available.");
  m.def(
      "memory_stats", [] { return stats_dict(cpu_allocator().stats()); },
      "The CPU allocator's counters: bytes allocated (in use), reserved (in use and kept) and peak; "
      "allocations "
      "served from kept blocks (hits) and by the system (misses).");
  m.def("reset_peak_memory", [] { cpu_allocator().reset_peak(); }, "Sets the peak to what is allocated now.");
  m.def(
      "empty_cache", [] { cpu_allocator().empty_cache(); },
      "Gives the memory kept for later back to the system.");
  m.def(
      "fma_loop",
      [](std::int64_t iterations, DeviceChoice device) { return fma_loop(iterations, chosen(device)); },
      py::arg("iterations"), py::arg("device") = py::none(), ReleaseGil(),
      "Multiplies and adds in registers on every thread, for nothing: timing it gives the peak of the device "
      "or of "
      "the instruction set in use. Returns the floating-point operations that each thread did, float64 of "
      "shape "
      "(num_threads(),) on the CPU and (1,) on another device.\nValueError for negative iterations.");
  m.def("set_poison", &set_poison, py::arg("on"),
        "Fills every new array with NaN bytes, so that tests see an element that no kernel wrote.");
}

}  // namespace weft
