// What weft.profile is made of.
#include "core/profile.h"

#include <pybind11/typing.h>

#include <limits>

#include "bindings/bindings.h"
#include "core/error.h"

namespace weft {

namespace {

// A Python function; kept for ever, because launches may come after the interpreter began to end.
PyObject* hook = nullptr;

int checked_site(const py::object& site) {
  check_type(PyLong_Check(site.ptr()), "set_site_hook: the function must give an int, got ", type_name(site));
  const std::int64_t number = to_int64(site);
  check_value(number >= -1 && number <= std::numeric_limits<int>::max(), "set_site_hook: the function gave ",
              number);
  return static_cast<int>(number);
}

int ask_python() {
  int answer = -1;
  with_gil([&] {
    if (hook) answer = checked_site(py::reinterpret_borrow<py::function>(hook)());
  });
  return answer;
}

using Launch =
    std::tuple<std::string, int, std::string, int, int, std::int64_t, std::int64_t, double, double>;

std::vector<Launch> stop() {
  std::vector<Launch> found;
  for (const Span& s : stop_profile())
    found.emplace_back(s.name, s.entry, s.isa ? s.isa : "", s.thread, s.site, s.begin, s.end, s.flop,
                       s.bytes);
  return found;
}

using Source = std::tuple<std::string, std::string, std::string, std::string>;

std::vector<Source> sources() {
  std::vector<Source> found;
  for (const KernelSource& s : kernel_sources()) found.emplace_back(s.name, s.cpu, s.reference, s.cuda);
  return found;
}

}  // namespace

void bind_profile(py::module_& m) {
  m.def("start_profile", &start_profile,
        "Records every launch of every thread from now on; see weft.profile. RuntimeError if it does so "
        "already.");
  m.def("stop_profile", &stop,
        "Ends it. For each launch: operation, index of the kernel in kernel_sources() (-1: none), "
        "instruction set, "
        "thread, site (-1: none), begin and end in nanoseconds since the start, floating-point operations, "
        "bytes. "
        "RuntimeError if nothing is recorded.");
  m.def("kernel_sources", &sources,
        "Of every kernel: its name, and file:line of its entry point in csrc/cpu, csrc/reference and "
        "csrc/cuda.");
  m.def(
      "set_site_hook",
      [](const py::typing::Callable<int()>& function) {
        Py_XDECREF(hook);
        hook = py::object(function).release().ptr();
        set_site_hook(&ask_python);
      },
      py::arg("function"),
      "A function without arguments that is asked at each recorded launch where it comes from, and gives an "
      "int.");
}

}  // namespace weft
