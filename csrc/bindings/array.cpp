// weft.kernels.Array, DType, and the functions that make and copy arrays.
#include "core/array.h"

#include "bindings/bindings.h"
#include "bindings/dlpack.h"
#include "core/cuda.h"
#include "core/destinations.h"
#include "core/error.h"
#include "core/recording.h"
#include "core/stream.h"
#include "ops/elementwise.h"

namespace weft {

py::capsule to_dlpack(const Array& x) {
  struct Export {
    Array array;  // keeps the memory
    Dims shape, strides;
    DLManagedTensor managed;
  };
  host_read("__dlpack__");
  check_value(x.storage()->writable, "array: read-only memory cannot be given out by DLPack");
  auto* out = new Export{x, x.shape(), x.strides(), {}};
  const DLDeviceType kind = x.device().kind == Device::Kind::cpu ? kDLCPU : kDLCUDA;
  out->managed.dl_tensor = {x.raw(),      {kind, x.device().index}, x.ndim(), dlpack_of_dtype(x.dtype()),
                            out->shape.v, out->strides.v,           0};
  out->managed.manager_ctx = out;
  // The consumer's kernels may still be using the memory, on whatever streams.
  out->managed.deleter = [](DLManagedTensor* self) {
    const std::unique_ptr<Export> done(static_cast<Export*>(self->manager_ctx));
    if (done->array.device().kind != Device::Kind::cpu) cuda::keep_until_idle(done->array.storage());
  };
  return py::capsule(&out->managed, "dltensor", [](PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, "dltensor")) return;  // its consumer deletes it
    auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
    delete static_cast<Export*>(managed->manager_ctx);
  });
}

namespace {

// What an array's consumer queues on its stream from now on comes after all that was done to the array. The
// argument is that of __dlpack__: None or 1 for CUDA's legacy default stream, 2 for the one of each thread,
// -1 for no order at all, else a cudaStream_t.
void order_consumer(const Array& x, const py::object& stream) {
  constexpr std::int64_t legacy = 1, none = -1;
  check_type(stream.is_none() || (py::isinstance<py::int_>(stream) && !PyBool_Check(stream.ptr())),
             "__dlpack__: stream must be an int or None");
  const std::int64_t given = stream.is_none() ? legacy : to_int64(stream);
  if (x.device().kind == Device::Kind::cpu) {
    check_value(stream.is_none() || given == none,
                "__dlpack__: stream must be None for an array on the CPU, got ", given);
    return;
  }
  check_value(given == none || given > 0, "__dlpack__: stream must be -1, 1, 2 or a cudaStream_t, got ",
              given);
  if (Stream* const last = x.storage()->stream; last && given != none)
    cuda::order_foreign(*last, static_cast<std::uintptr_t>(given));
}

// One entry of x[...]; `axis` moves past what it used.
Array apply_index(const Array& x, py::handle item, int& axis) {
  if (item.is_none()) return x.unsqueeze(axis++);
  if (PySlice_Check(item.ptr())) {
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(item.ptr(), &start, &stop, &step) < 0) throw py::error_already_set();
    const Py_ssize_t length = PySlice_AdjustIndices(x.shape(axis), &start, &stop, step);
    return x.slice(axis++, start, length, step);
  }
  if (PyIndex_Check(item.ptr()) && !PyBool_Check(item.ptr())) return x.select(axis, to_int64(item));
  throw TypeError("index: expected ints, slices, None or ..., got " + type_name(item));
}

// Basic indexing as in NumPy: a view.
Array get_item(const Array& x, const py::object& index) {
  const py::tuple items =
      py::isinstance<py::tuple>(index) ? py::reinterpret_borrow<py::tuple>(index) : py::make_tuple(index);
  int used = 0, ellipses = 0;
  for (py::handle item : items) {
    if (item.ptr() == Py_Ellipsis)
      ++ellipses;
    else if (!item.is_none())
      ++used;
  }
  if (ellipses > 1) throw IndexError("index: only one ... is allowed");
  if (used > x.ndim()) throw IndexError(str("index: ", used, " indices for an array of shape ", x.shape()));
  Array result = x;
  int axis = 0;
  for (py::handle item : items) {
    if (item.ptr() == Py_Ellipsis)
      axis += x.ndim() - used;
    else
      result = apply_index(result, item, axis);
  }
  return result;
}

void set_item(const Array& x, const py::object& index, const ArrayLike& value) {
  copy_into(get_item(x, index), value);
}

py::object item(const Array& x) {
  check_value(x.numel() == 1, "item: expected one element, got shape ", x.shape());
  const Array here = read_on_host("item", x.with({}, {}, x.offset()));
  py::object result;
  dispatch_all(x.dtype(), [&](auto type) {
    result = py::cast(Wide<typename decltype(type)::type>{*here.data<typename decltype(type)::type>()});
  });
  return result;
}

// Methods that need the object itself, as the owner of the memory, get anything: Array.numpy(5).
const Array& array_of(const py::object& self) {
  check_type(py::isinstance<Array>(self), "Array: expected an Array, got ", type_name(self));
  return self.cast<const Array&>();
}

// As NumPy; bfloat16 as float32.
py::array readable(const py::object& self) {
  const Array& x = array_of(self);
  if (x.dtype() != DType::bfloat16) return to_numpy(x, self);
  const py::object wide = py::cast(cast(read_on_host("numpy", x), DType::float32));
  return to_numpy(wide.cast<const Array&>(), wide);
}

std::string repr(const py::object& self) {
  const auto numpy = py::module_::import("numpy");
  const Array& x = array_of(self);
  const std::string text = py::str(
      numpy.attr("array2string")(readable(self), py::arg("separator") = ", ", py::arg("prefix") = "Array("));
  return "Array(" + text + ", dtype=" + name(x.dtype()) + ")";
}

void bind_dtype(py::module_& m) {
  py::enum_<DType> dtype(m, "DType", "The type of an array's elements.");
  for (int i = 0; i < dtype_count; ++i) dtype.value(name(static_cast<DType>(i)), static_cast<DType>(i));
  dtype.def_property_readonly("itemsize", &itemsize, "Size of one element in bytes.");
  dtype.def_property_readonly("is_floating_point", &is_floating, "float32, float64 or bfloat16.");
  dtype.attr("__str__") =
      py::cpp_function([](DType d) { return name(d); }, py::name("__str__"), py::is_method(dtype));
  dtype.attr("__repr__") = py::cpp_function([](DType d) { return str("weft.", name(d)); },
                                            py::name("__repr__"), py::is_method(dtype));
  members_only(dtype);
}

void bind_memory_format(py::module_& m) {
  py::enum_<MemoryFormat> format(m, "MemoryFormat",
                                 "The order in which the elements of an array (N, C, H, W) lie in memory: "
                                 "contiguous_format, channels_last (N, H, W, C), preserve_format.");
  format.value("contiguous_format", MemoryFormat::contiguous)
      .value("channels_last", MemoryFormat::channels_last)
      .value("preserve_format", MemoryFormat::preserve);
  members_only(format);
}

void bind_views(py::class_<Array>& array) {
  array
      .def(
          "reshape", [](const Array& x, const DimsLike& shape) { return reshape(x, shape); },
          py::arg("shape"),
          "The same elements in another shape; one entry may be -1. A view where strides allow it.")
      .def(
          "permute", [](const Array& x, const DimsLike& axes) { return x.permute(axes); }, py::arg("axes"),
          "A view with the axes in another order.")
      .def("transpose", &Array::transpose, py::arg("a"), py::arg("b"), "A view with two axes swapped.")
      .def(
          "expand", [](const Array& x, const DimsLike& shape) { return x.expand(shape); }, py::arg("shape"),
          "A view broadcast to `shape`; -1 keeps an axis.")
      .def("squeeze", &Array::squeeze, py::arg("axis"), "A view without an axis of size 1.")
      .def("unsqueeze", &Array::unsqueeze, py::arg("axis"), "A view with a new axis of size 1.")
      .def(
          "contiguous", [](const Array& x, MemoryFormat format) { return contiguous(x, format); },
          py::arg("memory_format") = MemoryFormat::contiguous,
          "Itself where it lies so without gaps, else a copy. ValueError for channels_last of a rank other "
          "than 4.")
      .def("__getitem__", &get_item, "Basic indexing, as in NumPy: ints, slices, None, ...; a view.")
      .def("__setitem__", &set_item, "Copies a value, broadcast and cast, into a view.");
}

// bool(x), which may raise.
py::dtype numpys_dtype(const py::object& x) {
  try {
    return py::dtype::from_args(x);
  } catch (py::error_already_set&) {
    throw TypeError("__array__: expected a dtype of NumPy's, got " + shown(x));
  }
}

bool truth(const py::object& x) {
  const int result = PyObject_IsTrue(x.ptr());
  if (result < 0) throw py::error_already_set();
  return result == 1;
}

void bind_exchange(py::class_<Array>& array) {
  array.def_buffer([](Array& x) {
    // NumPy takes __array__ then, which copies.
    if (x.device().kind != Device::Kind::cpu)
      throw py::buffer_error(str("array: memory on ", x.device(), " cannot be given out as a buffer"));
    const py::array view = to_numpy(x, py::none());
    return py::buffer_info(x.raw(), view.itemsize(), std::string(1, view.dtype().char_()), view.ndim(),
                           {view.shape(), view.shape() + view.ndim()},
                           {view.strides(), view.strides() + view.ndim()}, !x.storage()->writable);
  });
  array
      .def(
          "numpy", [](const py::object& self) { return to_numpy(array_of(self), self); },
          "A NumPy array over the same memory. TypeError for bfloat16, which NumPy lacks.")
      .def(
          "__array__",
          [](const py::object& self, const py::object& dtype, const py::object& copy) {
            py::object view = to_numpy(array_of(self), self);
            const bool cast = !dtype.is_none() && !numpys_dtype(dtype).equal(view.attr("dtype"));
            if (cast && !copy.is_none() && !truth(copy))
              throw ValueError("__array__: another dtype needs a copy");
            if (cast) return py::object(view.attr("astype")(numpys_dtype(dtype)));
            return !copy.is_none() && truth(copy) ? py::object(view.attr("copy")()) : view;
          },
          py::arg("dtype") = py::none(), py::arg("copy") = py::none())
      .def(
          "__dlpack__",
          [](const Array& x, const py::object& stream, const py::object&, const py::object&,
             const py::object& copy) {
            const Array given = !copy.is_none() && truth(copy) ? weft::copy(x) : x;
            const py::capsule capsule = to_dlpack(given);
            order_consumer(given, stream);
            return capsule;
          },
          py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
          py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack_device__",
           [](const Array& x) {
             return py::make_tuple(x.device().kind == Device::Kind::cpu ? 1 : 2, x.device().index);
           })
      .def("item", &item, "The one element as a Python number.")
      .def(
          "tolist", [](const py::object& self) { return readable(self).attr("tolist")(); },
          "Nested Python lists.");
}

void bind_array_class(py::module_& m) {
  py::class_<Array> array(m, "Array", py::buffer_protocol(),
                          "Memory with a shape, strides and a dtype, on a device. Views share the memory.");
  constructed_only(array);
  array.def_property_readonly("shape", [](const Array& x) { return x.shape(); })
      .def_property_readonly(
          "strides", [](const Array& x) { return x.strides(); }, "In elements.")
      .def_property_readonly("ndim", [](const Array& x) { return x.ndim(); })
      .def_property_readonly(
          "size", [](const Array& x) { return x.numel(); }, "The number of elements.")
      .def_property_readonly("nbytes", [](const Array& x) { return x.nbytes(); })
      .def_property_readonly("dtype", [](const Array& x) { return x.dtype(); })
      .def_property_readonly("device", [](const Array& x) { return x.device(); })
      .def_property_readonly("writable", [](const Array& x) { return x.storage()->writable; })
      .def_property_readonly(
          "data_ptr", [](const Array& x) { return reinterpret_cast<std::uintptr_t>(x.raw()); },
          "The address of the first element.")
      .def_property_readonly(
          "version", [](const Array& x) { return x.storage()->version; },
          "How often the memory was updated in place, as counted by bump_version().")
      .def("bump_version",
           [](const Array& x) {
             ++x.storage()->version;
             if (Recording* recording = Recording::active()) recording->note_update(x.storage());
           })
      .def(
          "is_contiguous", [](const Array& x, MemoryFormat format) { return x.is_contiguous(format); },
          py::arg("memory_format") = MemoryFormat::contiguous,
          "Row-major without gaps; or so with the channels last. Sizes of 1 may make both true.")
      .def_property_readonly(
          "memory_format", [](const Array& x) { return x.memory_format(); },
          "channels_last where the strides of a rank of 4 say so, else contiguous_format.")
      .def(
          "shares_memory", [](const Array& x, const Array& y) { return x.storage() == y.storage(); },
          py::arg("other"), "Both are views of one storage.")
      .def("__len__",
           [](const Array& x) {
             check_type(x.ndim() > 0, "len() of an array of rank 0");
             return x.shape(0);
           })
      .def("__float__", [](const Array& x) { return py::float_(item(x)); })
      .def("__int__", [](const Array& x) { return py::int_(item(x)); })
      .def("__bool__", [](const Array& x) { return py::bool_(item(x)); })
      .def("__repr__", &repr);
  bind_views(array);
  bind_exchange(array);
}

// Casts a fill value to both forms that a kernel may want.
Array full_like_number(const Dims& shape, const py::object& value, DType dtype, const Device& device) {
  const Array out = Array::empty(shape, dtype, device);
  fill(out, to_double(value), is_floating(dtype) ? 0 : to_int64(value));
  return out;
}

}  // namespace

void bind_array(py::module_& m) {
  bind_dtype(m);
  bind_memory_format(m);
  bind_array_class(m);
  const auto dtype = py::arg("dtype") = "float32";
  const auto device = py::arg("device") = py::none();
  m.def(
      "empty",
      [](const DimsLike& shape, DTypeLike d, DeviceChoice on) { return Array::empty(shape, d, chosen(on)); },
      py::arg("shape"), dtype, device, "An array of `shape` whose elements are not set.");
  m.def(
      "zeros",
      [](const DimsLike& shape, DTypeLike d, DeviceChoice on) { return full(shape, 0, d, chosen(on)); },
      py::arg("shape"), dtype, device, "An array of zeros.");
  m.def(
      "ones",
      [](const DimsLike& shape, DTypeLike d, DeviceChoice on) { return full(shape, 1, d, chosen(on)); },
      py::arg("shape"), dtype, device, "An array of ones.");
  m.def(
      "full",
      [](const DimsLike& shape, const py::object& value, DTypeLike d, DeviceChoice on) {
        return full_like_number(shape, value, d, chosen(on));
      },
      py::arg("shape"), py::arg("value"), dtype, device, "An array filled with one number.");
  m.def(
      "set_destinations",
      [](const OutputList& places) {
        for (const Array& place : places.arrays)
          check_value(place.is_contiguous() && place.storage()->writable,
                      "set_destinations: a place must be contiguous and writable, got shape ", place.shape());
        set_destinations(places.arrays);
      },
      py::arg("places"),
      "Wishes that the next new arrays of this thread with these shapes and dtypes lie there, each once; an "
      "empty "
      "list ends it. Whoever asks must look where the arrays came to lie.");
  m.def(
      "asarray",
      [](const ArrayLike& x, std::optional<DTypeLike> d, DeviceChoice on) {
        const DType wanted = d                                             ? d->dtype
                             : x.is_number && x->dtype() == DType::float64 ? DType::float32
                                                                           : x->dtype();
        const auto as = [&] { return wanted == x->dtype() ? x.array : cast(x, wanted); };
        if (!x.is_number) return on ? moved(as(), *on) : as();
        const Unrecorded constant;
        return constant_on(as(), chosen(on));
      },
      py::arg("x"), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      "An Array over the memory of a NumPy array, a Tensor or anything with __dlpack__, without a copy where "
      "the dtype and the device allow it. Numbers and nested lists are copied; Python floats become float32. "
      "What comes from the host goes to the default device, unless `device` says where.");
  m.def(
      "to", [](const ArrayLike& x, Device on) { return moved(x, on); }, py::arg("x"), py::arg("device"),
      ReleaseGil(),
      "x itself where it is on that device, else a copy there, in the memory order of x. A copy to the host "
      "waits "
      "for the device. RuntimeError where the device cannot be used.");
  m.def("default_device", &default_device, "Where new arrays come to lie when nothing else is said.");
  m.def(
      "set_default_device",
      [](Device on) {
        if (on.kind == Device::Kind::cuda) allocator(on);  // says why it cannot be used
        set_default_device(on);
      },
      py::arg("device"), "Of the whole process. RuntimeError where the device cannot be used.");
  m.def(
      "bfloat16_bits",
      [](const py::object& x) {
        const ArrayLike array = to_array(x);
        return bits_of_bfloat16(array, py::cast(array.array));
      },
      py::arg("x"), "The memory of a bfloat16 array as a NumPy array of uint16, without a copy.");
  m.def(
      "bfloat16_from_bits", &bfloat16_of_bits, py::arg("bits"),
      "A bfloat16 Array over the memory of a NumPy array of uint16, without a copy where its strides allow.");
  m.def(
      "empty_like",
      [](const ArrayLike& x, std::optional<DTypeLike> d) {
        return Array::empty_like(x, d ? d->dtype : x->dtype());
      },
      py::arg("x"), py::arg("dtype") = py::none(),
      "An array of x's shape, memory order and dtype whose elements are not set.");
  m.def(
      "copy", [](const ArrayLike& x, MemoryFormat format) { return copy(x, format); }, py::arg("x"),
      py::arg("memory_format") = MemoryFormat::preserve, ReleaseGil(),
      "A new array without gaps, in the memory order of x or in a given one.");
  m.def(
      "cast", [](const ArrayLike& x, DTypeLike d) { return cast(x, d); }, py::arg("x"), py::arg("dtype"),
      ReleaseGil(),
      "A new array of another dtype, in the memory order of x. Floats are cut towards zero; anything but "
      "0 is True.");
  m.def(
      "copy_into", [](const Output& out, const ArrayLike& x) { copy_into(out, x); }, py::arg("out"),
      py::arg("x"), ReleaseGil(), "Copies x, broadcast and cast, into the elements of out.");
  m.def(
      "fill",
      [](const Output& out, const py::object& value) {
        fill(out, to_double(value), is_floating(out->dtype()) ? 0 : to_int64(value));
      },
      py::arg("out"), py::arg("value"), "Sets every element of out to one number.");
}

}  // namespace weft
