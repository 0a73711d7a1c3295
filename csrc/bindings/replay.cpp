// weft.kernels.Replay: what weft.capture is made of.
#include "ops/replay.h"

#include <pybind11/typing.h>

#include "bindings/bindings.h"
#include "core/error.h"

namespace weft {

namespace {

using Objects = py::typing::List<py::object>;
using Launches = std::vector<std::pair<std::string, std::size_t>>;

// f() while no other thread changes the replay. Who has it meanwhile may need Python's lock.
template <class F>
auto in_turn(Replay& replay, F f) {
  const GilReleased released;
  const WithTurn taken(replay.turn);
  return f();
}

// A replay that another thread is recording stays, for that thread goes on writing into it.
struct DeleteUnused {
  void operator()(Replay* replay) const {
    if (!replay->turn.another_has()) delete replay;
  }
};

Launches launches(Replay& replay) {
  return in_turn(replay, [&] {
    Launches found;
    for (const Launch& launch : replay.recording().launches()) found.emplace_back(launch.name, launch.bytes);
    return found;
  });
}

std::optional<std::string> reason(Replay& replay) {
  const std::string text = in_turn(replay, [&] { return replay.recording().reason(); });
  return text.empty() ? std::nullopt : std::optional(text);
}

py::typing::Dict<py::str, py::int_> memory(const Replay& replay) {
  const MemoryStats stats = replay.recording().pool()->stats();
  py::typing::Dict<py::str, py::int_> result;
  result["reserved"] = stats.reserved;
  result["peak"] = stats.peak;
  result["allocated"] = stats.allocated;
  result["blocks"] = replay.recording().pool()->blocks();
  result["arrays"] = stats.hits + stats.misses;
  return result;
}

void append(std::string& key, const Array& x) {
  const auto add = [&key](std::int64_t value) {
    key.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  add(static_cast<std::int64_t>(x.dtype()) * 16 + x.ndim());
  for (std::int64_t size : x.shape()) add(size);
  add(static_cast<std::int64_t>(x.memory_format()));
}

// Equal for arrays of equal shapes, dtypes and memory formats.
py::bytes signature(const ArrayList& given) {
  std::string key;
  for (const Array& x : given.arrays) append(key, x);
  return key;
}

// The same for the arrays of objects that are all exactly of the class `tensor`; else None.
py::object signature_of_tensors(const py::typing::Tuple<py::object, py::ellipsis>& objects,
                                const py::handle& tensor) {
  static PyObject* const name = PyUnicode_InternFromString("array");
  std::string key;
  for (const py::handle object : objects) {
    if (py::type::handle_of(object).ptr() != tensor.ptr()) return py::none();
    const auto array = py::reinterpret_steal<py::object>(PyObject_GetAttr(object.ptr(), name));
    if (!array) throw py::error_already_set();
    check_type(py::isinstance<Array>(array),
               "signature_of_tensors: the attribute 'array' must be an Array, got ", type_name(array));
    append(key, array.cast<const Array&>());
  }
  return py::bytes(key);
}

// Whether objects[i].names[i] is values[i] for all i.
bool attributes_are(const Objects& objects, const py::typing::List<py::str>& names, const Objects& values) {
  check_value(objects.size() == names.size() && objects.size() == values.size(),
              "attributes_are: the lists must be of one length, got ", objects.size(), ", ", names.size(),
              " and ", values.size());
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(objects.ptr()) && i < PyList_GET_SIZE(names.ptr()) &&
                         i < PyList_GET_SIZE(values.ptr());
       ++i) {
    // Owned: looking up may run Python, which could change the lists.
    const auto object = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(objects.ptr(), i));
    const auto name = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(names.ptr(), i));
    const auto value = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(values.ptr(), i));
    const auto found = py::reinterpret_steal<py::object>(PyObject_GetAttr(object.ptr(), name.ptr()));
    if (!found) throw py::error_already_set();
    const bool same = found.is(value);
    if (!same) return false;
  }
  return true;
}

void bind_replay_class(py::module_& m) {
  py::class_<Replay, std::unique_ptr<Replay, DeleteUnused>> replay(
      m, "Replay",
      "Records the kernels that a thread runs, and runs them again without Python; see weft.capture. strict: "
      "reading "
      "an element on the host while recording is a RuntimeError; else it is noted in `reason` and nothing is "
      "recorded. "
      "All of it runs on one device; on CUDA it becomes one graph. Threads use it one after the other: "
      "whoever comes "
      "while another one records or replays waits.");
  constructed_only(replay);
  replay
      .def(py::init([](bool strict, const DeviceChoice& device) {
             return std::unique_ptr<Replay, DeleteUnused>(new Replay(chosen(device), strict));
           }),
           py::arg("strict") = true, py::arg("device") = py::none())
      .def_property_readonly(
          "device", [](const Replay& r) { return r.recording().device(); }, "Where everything in it runs.")
      .def_property_readonly(
          "graph_nodes", [](Replay& r) { return in_turn(r, [&] { return r.recording().graph_nodes(); }); },
          "How many nodes its CUDA graph has; 0 before the first call, and on the cpu.")
      .def(
          "watch", [](Replay& r) { r.begin(Recording::Mode::watch); }, ReleaseGil(),
          "Until end(), only looks for reads on the host. RuntimeError inside of another capture.")
      .def(
          "begin", [](Replay& r) { r.begin(Recording::Mode::record); }, ReleaseGil(),
          "Until end(), runs and keeps every kernel of this thread; new arrays come from a pool of its own. "
          "RuntimeError inside of another capture, and where it is recorded already.")
      .def(
          "end", [](Replay& r) { r.end(); }, "Ends watch() or begin(), in the same thread.")
      .def(
          "set_inputs", [](Replay& r, const ArrayList& x) { in_turn(r, [&] { r.set_inputs(x.arrays); }); },
          py::arg("inputs"), "The arrays into which call() copies its arguments.")
      .def(
          "set_outputs", [](Replay& r, const ArrayList& x) { in_turn(r, [&] { r.set_outputs(x.arrays); }); },
          py::arg("outputs"), "The arrays that call() returns.")
      .def_property_readonly(
          "inputs", [](Replay& r) { return in_turn(r, [&] { return r.inputs(); }); },
          "The arrays into which call() copies its arguments.")
      .def_property_readonly(
          "outputs", [](Replay& r) { return in_turn(r, [&] { return r.outputs(); }); },
          "The recorded arrays that hold the results.")
      .def(
          "call", [](Replay& r, const ArrayList& inputs, bool copy) { return r.call(inputs.arrays, copy); },
          py::arg("inputs"), py::arg("copy_outputs") = true, ReleaseGil(),
          "Copies the inputs in, runs what was recorded and returns the outputs: copies, or the recorded "
          "arrays "
          "that the next call overwrites. ValueError or TypeError for other shapes or dtypes than recorded; "
          "RuntimeError where nothing was recorded.")
      .def_property_readonly(
          "complete", [](Replay& r) { return in_turn(r, [&] { return r.recording().complete(); }); },
          "Something was recorded.")
      .def_property_readonly("reason", &reason, "Why nothing was recorded, or None.")
      .def("launches", &launches, "(name, bytes of the arrays that it touches) of every kernel, in order.")
      .def("memory", &memory,
           "The pool: bytes reserved, in use at most (peak) and still held (allocated); how many blocks "
           "serve how "
           "many arrays.");
}

}  // namespace

void bind_replay(py::module_& m) {
  bind_replay_class(m);
  m.def("signature", &signature, py::arg("arrays"),
        "Bytes that are equal for arrays of equal shapes and dtypes.");
  m.def("signature_of_tensors", &signature_of_tensors, py::arg("objects"), py::arg("tensor"),
        "signature() of the arrays of objects that are all exactly of the class `tensor`; else None.");
  m.def("attributes_are", &attributes_are, py::arg("objects"), py::arg("names"), py::arg("values"),
        "Whether objects[i].names[i] is values[i] (the same object) for all i. ValueError for lists of "
        "different lengths.");
  m.def(
      "write_now",
      [](const Array& out, const NumberList& given) {
        write_now(out, given.values.data(), static_cast<std::int64_t>(given.values.size()));
      },
      py::arg("out"), py::arg("values"),
      "Sets the elements of a float64 array at once, inside of a capture too, which does not record it: for "
      "what "
      "changes between replays. ValueError for another number of values, TypeError for another dtype.");
  m.def(
      "in_capture", [] { return Recording::current() != nullptr; },
      "Whether this thread records, or watches for it.");
}

}  // namespace weft
