// Devices, streams, events and memory of CUDA: what weft.cuda is made of.
#include "core/cuda.h"

#include "bindings/bindings.h"
#include "core/error.h"
#include "core/stream.h"
#include "ops/elementwise.h"

namespace weft {

namespace {

// A stream lives as long as the process; this only names it.
struct StreamHandle {
  Stream* stream;
};

py::typing::Dict<py::str, py::object> versions() {
  const cuda::Versions v = cuda::versions();
  py::typing::Dict<py::str, py::object> result;
  result["driver"] = v.driver;
  result["runtime"] = v.runtime;
  result["architectures"] = v.architectures;
  return result;
}

py::typing::Dict<py::str, py::object> device_info(int device) {
  const cuda::DeviceInfo info = cuda::device_info(device);
  py::typing::Dict<py::str, py::object> result;
  result["name"] = info.name;
  result["major"] = info.major;
  result["minor"] = info.minor;
  result["multiprocessors"] = info.multiprocessors;
  result["total_memory"] = info.total_memory;
  result["free_memory"] = info.free_memory;
  result["l2_bytes"] = info.l2_bytes;
  return result;
}

// A copy of an array in pinned host memory.
Array pinned(const Array& given) {
  const Array x = contiguous(given);
  auto storage = std::make_shared<Storage>();
  void* const block = cuda::allocate_pinned(x.nbytes());
  storage->data = block;
  storage->nbytes = x.nbytes();
  storage->pinned = true;
  storage->release = [block] { cuda::free_pinned(block); };
  const Array out(std::move(storage), 0, x.shape(), contiguous_strides(x.shape()), x.dtype());
  copy_into(out, x);
  return out;
}

void bind_streams(py::module_& m) {
  py::class_<StreamHandle> stream(m, "CudaStream",
                                  "A queue of work on a CUDA device; see weft.cuda.Stream. RuntimeError "
                                  "where the device cannot be used.");
  constructed_only(stream);
  stream
      .def(py::init([](int device) { return StreamHandle{&cuda::new_stream(device)}; }),
           py::arg("device") = 0)
      .def_property_readonly("device", [](const StreamHandle& s) { return s.stream->device(); })
      .def_property_readonly(
          "handle",
          [](const StreamHandle& s) { return reinterpret_cast<std::uintptr_t>(s.stream->native()); },
          "The cudaStream_t as an int, for other libraries.")
      .def(
          "synchronize", [](const StreamHandle& s) { cuda::synchronize(*s.stream); }, ReleaseGil(),
          "Waits for all work so far. What went wrong on the device is raised here: RuntimeError, or what a "
          "check "
          "in a replay found.")
      .def(
          "query", [](const StreamHandle& s) { return cuda::finished(*s.stream); },
          "Whether all work is done.")
      .def(
          "wait_stream",
          [](const StreamHandle& s, const StreamHandle& other) { cuda::order(*other.stream, *s.stream); },
          py::arg("other"), "What is given to this stream from now on runs after what `other` has so far.")
      .def("__eq__",
           [](const StreamHandle& a, const py::object& b) {
             return py::isinstance<StreamHandle>(b) && a.stream == b.cast<const StreamHandle&>().stream;
           })
      .def("__hash__", [](const StreamHandle& s) { return reinterpret_cast<std::uintptr_t>(s.stream); });
  m.def(
      "cuda_current_stream", [](int device) { return StreamHandle{&cuda::stream(device)}; },
      py::arg("device") = 0, "The stream of this thread on a device.");
  m.def(
      "cuda_set_stream", [](const StreamHandle& s) { cuda::set_stream(*s.stream); }, py::arg("stream"),
      "Makes a stream this thread's own on its device.");
  m.def("cuda_synchronize", py::overload_cast<int>(&cuda::synchronize), py::arg("device") = 0, ReleaseGil(),
        "Waits for all streams of a device; raises what went wrong there.");
}

void bind_events(py::module_& m) {
  py::class_<cuda::Event> event(m, "CudaEvent", "A point in a stream; see weft.cuda.Event.");
  constructed_only(event);
  event
      .def(py::init([](int device, bool timing) { return cuda::new_event(device, timing); }),
           py::arg("device") = 0, py::arg("enable_timing") = true)
      .def(
          "record", [](cuda::Event& e, const StreamHandle& s) { e.record(*s.stream); }, py::arg("stream"),
          "Marks the point after all work that the stream has so far.")
      .def(
          "wait", [](cuda::Event& e, const StreamHandle& s) { e.wait(*s.stream); }, py::arg("stream"),
          "What the stream is given from now on runs after the point.")
      .def(
          "synchronize", [](cuda::Event& e) { e.synchronize(); }, ReleaseGil(),
          "Waits until the point is reached.")
      .def(
          "query", [](cuda::Event& e) { return e.query(); }, "Whether the point is reached.")
      .def(
          "milliseconds_since",
          [](const cuda::Event& e, const cuda::Event& earlier) { return e.milliseconds_since(earlier); },
          py::arg("earlier"), "The device's time between two points that were reached.");
}

}  // namespace

void bind_cuda(py::module_& m) {
  m.def("cuda_built", &cuda::built, "Whether this build has the CUDA backend.");
  m.def("cuda_emulated", &cuda::emulated, "Whether the backend's kernels run in the emulator, on the CPU.");
  m.def("cuda_device_count", &cuda::device_count, "The number of CUDA devices that can be used.");
  m.def("cuda_unavailable_reason", &cuda::unavailable_reason,
        "Why cuda_device_count() is 0; empty where it is not.");
  m.def(
      "cuda_versions", &versions,
      "driver and runtime as 1000 major + 10 minor, 0 for none; architectures that kernels were built for.");
  m.def("cuda_device_info", &device_info, py::arg("device") = 0,
        "name, major, minor (compute capability), multiprocessors, total_memory, free_memory, l2_bytes.");
  m.def(
      "cuda_memory_stats", [](int device) { return stats_dict(cuda::allocator(device).stats()); },
      py::arg("device") = 0, "A device's allocator's counters: as memory_stats() for the CPU.");
  m.def(
      "cuda_reset_peak_memory", [](int device) { cuda::allocator(device).reset_peak(); },
      py::arg("device") = 0, "Sets the peak to what is allocated now.");
  m.def(
      "cuda_empty_cache", [](int device) { cuda::allocator(device).empty_cache(); }, py::arg("device") = 0,
      ReleaseGil(), "Gives the memory kept for later back to the device, after waiting for it.");
  m.def(
      "pinned", [](const ArrayLike& x) { return pinned(x); }, py::arg("x"),
      "A copy in host memory that a device reads by itself.");
  bind_streams(m);
  bind_events(m);
}

}  // namespace weft
