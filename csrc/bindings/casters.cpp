#include "bindings/casters.h"

#include "bindings/dlpack.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/recording.h"
#include "core/sizes.h"
#include "core/stream.h"
#include "ops/elementwise.h"

namespace weft {

std::string to_text(py::handle text) {
  const auto bytes =
      py::reinterpret_steal<py::bytes>(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "replace"));
  if (!bytes) throw py::error_already_set();
  return bytes;
}

std::string shown(py::handle x) {
  try {
    return to_text(py::repr(x));
  } catch (py::error_already_set&) {  // a stranger's own, or that of a list nested too deep
    return "one of type " + type_name(x);
  }
}

std::string type_name(py::handle x) { return Py_TYPE(x.ptr())->tp_name; }

namespace {

// A release function for memory that a Python object owns. Runs on any thread, with or without the GIL.
std::function<void()> keep_alive(py::object owner) {
  return [raw = owner.release().ptr()] { with_gil([raw] { Py_DECREF(raw); }); };
}

std::optional<DType> numpy_dtype(const py::dtype& dtype) {
  switch (dtype.kind()) {
    case 'f':
      if (dtype.itemsize() == 4) return DType::float32;
      if (dtype.itemsize() == 8) return DType::float64;
      break;
    case 'i':
      if (dtype.itemsize() == 8) return DType::int64;
      if (dtype.itemsize() == 4) return DType::int32;
      break;
    case 'u':
      if (dtype.itemsize() == 1) return DType::uint8;
      break;
    case 'b': return DType::bool_;
    default: break;
  }
  return {};
}

[[noreturn]] void refuse_dtype(const std::string& what) {
  throw TypeError("array: dtype " + what +
                  " is not one of float32, float64, int64, int32, uint8, bool, bfloat16");
}

bool shareable(const py::array& x) {
  constexpr int aligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (!(x.flags() & aligned) || !x.dtype().attr("isnative").cast<bool>()) return false;
  for (py::ssize_t i = 0; i < x.ndim(); ++i)
    if (x.strides(i) % x.itemsize() != 0) return false;
  return true;
}

// The strides of memory that others made. Where there is nothing to step over they may be any number; ours
// are small, so that arithmetic with them fits.
Dims checked_strides(const Dims& shape, const Dims& strides) {
  if (element_count("array", shape) == 0) return contiguous_strides(shape);
  constexpr std::int64_t most = std::int64_t{1} << 58;
  Dims result = strides;
  for (int i = 0; i < shape.n; ++i)
    if (shape[i] == 1 && (strides[i] > most || strides[i] < -most)) result[i] = 1;
  return result;
}

// `dtype`: what the elements are.
Array from_numpy_as(py::array x, DType dtype) {
  if (!shareable(x)) {
    const py::object native = x.dtype().attr("newbyteorder")("=");
    x = py::module_::import("numpy").attr("array")(x, native, py::arg("order") = "C", py::arg("copy") = true);
  }
  Dims shape, strides;
  for (py::ssize_t i = 0; i < x.ndim(); ++i) {
    shape.push_back(x.shape(i));
    strides.push_back(x.strides(i) / x.itemsize());
  }
  auto storage = std::make_shared<Storage>();
  storage->data = const_cast<void*>(x.data());
  storage->nbytes = static_cast<std::size_t>(x.nbytes());
  storage->writable = x.writeable();
  storage->release = keep_alive(std::move(x));
  return Array(std::move(storage), 0, shape, checked_strides(shape, strides), dtype);
}

Array from_numpy(py::array x) {
  const auto dtype = numpy_dtype(x.dtype());
  if (!dtype) refuse_dtype(to_text(py::str(x.dtype())));
  return from_numpy_as(std::move(x), *dtype);
}

// Where an object says that its memory lies.
Device dlpack_device(py::handle source) {
  if (!py::hasattr(source, "__dlpack_device__")) return {};
  const py::object place = source.attr("__dlpack_device__")();
  check_type(py::isinstance<py::tuple>(place) && py::len(place) == 2,
             "array: __dlpack_device__ must give a tuple (type, index), got ", type_name(place));
  const std::int64_t kind = to_int64(place[py::int_(0)]), index = to_int64(place[py::int_(1)]);
  if (kind != kDLCUDA) return {};
  check_value(index >= 0 && index < 128, "array: __dlpack_device__ gives the index ", index);
  return {Device::Kind::cuda, static_cast<int>(index)};
}

// What a capsule holds, as far as that can be told.
Array described(const DLTensor& t, const Device& device) {
  check_state(t.device.device_type == (device.kind == Device::Kind::cpu ? kDLCPU : kDLCUDA),
              "array: DLPack device type ", t.device.device_type, " cannot be read by this build");
  const auto dtype = dtype_of_dlpack(t.dtype);
  if (!dtype) refuse_dtype(str("with DLPack code ", int{t.dtype.code}, " and ", int{t.dtype.bits}, " bits"));
  check_value(t.ndim >= 0 && (t.ndim == 0 || t.shape), "array: a DLPack tensor of ", t.ndim,
              " dimensions must have a shape");
  Dims shape, strides;
  for (int i = 0; i < t.ndim; ++i) shape.push_back(t.shape[i]);
  const std::int64_t count = element_count("array", shape);
  if (t.strides)
    for (int i = 0; i < t.ndim; ++i) strides.push_back(t.strides[i]);
  else
    strides = contiguous_strides(shape);
  auto storage = std::make_shared<Storage>();
  storage->data = t.data ? static_cast<char*>(t.data) + t.byte_offset : nullptr;
  check_value(count == 0 || storage->data, "array: a DLPack tensor of shape ", shape, " has no memory");
  check_value(reinterpret_cast<std::uintptr_t>(storage->data) % itemsize(*dtype) == 0,
              "array: the elements of a DLPack tensor of ", name(*dtype), " are not aligned to ",
              itemsize(*dtype), " bytes");
  storage->device = device;
  storage->nbytes = static_cast<std::size_t>(count) * itemsize(*dtype);
  return Array(std::move(storage), 0, shape, checked_strides(shape, strides), *dtype);
}

Array from_dlpack(py::handle source) {
  const Device device = dlpack_device(source);
  // A producer on a device makes what it queued come before what is queued on our stream from now on.
  Stream* const queue = device.kind == Device::Kind::cpu ? nullptr : &current_stream(device);
  const py::object given =
      queue ? source.attr("__dlpack__")(py::arg("stream") = reinterpret_cast<std::uintptr_t>(queue->native()))
            : source.attr("__dlpack__")();
  check_type(PyCapsule_IsValid(given.ptr(), "dltensor"),
             "array: __dlpack__ must give a fresh DLPack capsule, got ", type_name(given));
  const auto capsule = py::reinterpret_borrow<py::capsule>(given);
  auto* managed = capsule.get_pointer<DLManagedTensor>();
  Array array = described(managed->dl_tensor, device);
  // From here on the tensor is ours to delete.
  if (PyCapsule_SetName(capsule.ptr(), "used_dltensor") != 0) throw py::error_already_set();
  if (queue)
    array.storage()->stream = queue;  // who uses it on another one comes after the producer's work too
  array.storage()->release = [managed] {
    if (managed->deleter) with_gil([managed] { managed->deleter(managed); });
  };
  return array;
}

// Over the same memory, whose elements NumPy calls `dtype`.
py::array to_numpy_as(const Array& x, const py::dtype& dtype, py::handle base) {
  if (x.device().kind != Device::Kind::cpu) {
    const py::object copy = py::cast(read_on_host("numpy", x));
    return to_numpy_as(copy.cast<const Array&>(), dtype, copy);
  }
  host_read("numpy");
  std::vector<py::ssize_t> shape(x.shape().begin(), x.shape().end());
  std::vector<py::ssize_t> strides;
  for (std::int64_t s : x.strides()) strides.push_back(s * static_cast<py::ssize_t>(itemsize(x.dtype())));
  py::array result(dtype, shape, strides, x.raw(), base);
  if (!x.storage()->writable) result.attr("flags").attr("writeable") = false;
  return result;
}

template <class T>
ArrayLike number(T value) {
  Array array = Array::constant({}, dtype_of<T>::value);
  *array.data<T>() = value;
  return {std::move(array), true};
}

// Nested lists and NumPy scalars. Python floats become float32, as in torch.
Array from_sequence(py::handle source) {
  const auto numpy = py::module_::import("numpy");
  const bool is_list = py::isinstance<py::sequence>(source);
  py::array x = numpy.attr("asarray")(source);
  if (is_list && x.dtype().kind() == 'f') x = x.attr("astype")("float32");
  return from_numpy(std::move(x));
}

}  // namespace

Array constant_on(const Array& x, Device device) {
  if (device == x.device()) return x;
  const GilReleased released;
  const Unrecorded constant;
  return moved(x, device);
}

Array read_on_host(const char* op, const Array& x) {
  const GilReleased released;
  return on_host(op, dense(x));
}

namespace {

Array on_default(const Array& x) { return constant_on(x, default_device()); }

// Of an object of the class itself, which most arguments are: pybind11's searches for the type would show.
const Array* array_within(py::handle source) {
  static const PyTypeObject* const array_type = reinterpret_cast<PyTypeObject*>(py::type::of<Array>().ptr());
  if (Py_TYPE(source.ptr()) != array_type) return nullptr;
  return reinterpret_cast<py::detail::instance*>(source.ptr())->get_value_and_holder().value_ptr<Array>();
}

}  // namespace

ArrayLike to_array(py::handle source) {
  if (const Array* array = array_within(source)) return {*array};
  if (PyBool_Check(source.ptr())) return number<bool>(source.ptr() == Py_True);
  if (PyFloat_CheckExact(source.ptr())) return number<double>(PyFloat_AS_DOUBLE(source.ptr()));
  if (PyLong_CheckExact(source.ptr())) return number<std::int64_t>(to_int64(source));
  if (py::isinstance<py::array>(source))
    return {on_default(from_numpy(py::reinterpret_borrow<py::array>(source)))};
  if (py::hasattr(source, "array")) {
    const py::object inner = source.attr("array");
    if (const Array* array = array_within(inner)) return {*array};
  }
  if (py::hasattr(source, "__dlpack__")) return {from_dlpack(source)};
  if (py::isinstance<py::sequence>(source) || py::hasattr(source, "__array__"))
    if (!py::isinstance<py::str>(source)) return {on_default(from_sequence(source))};
  throw TypeError("array: cannot make an array from " + type_name(source));
}

namespace {

// The Array of an Array or a Tensor; null for anything else.
const Array* array_in(py::handle source, py::object& owner) {
  if (const Array* array = array_within(source)) return array;
  if (py::isinstance<py::array>(source) || !py::hasattr(source, "array")) return nullptr;
  owner = source.attr("array");
  return array_within(owner);
}

// convert(item) of each item of a sequence.
template <class T, class F>
std::vector<T> list_of(const char* expected, py::handle source, F convert) {
  constexpr std::size_t most = 1 << 16;
  check_type(py::isinstance<py::sequence>(source) && !py::isinstance<py::str>(source), "list: expected ",
             expected, ", got ", type_name(source));
  std::vector<T> list;
  for (py::handle item : source) {
    check_value(list.size() < most, "list: expected ", expected, " of at most ", most, " items, got more of ",
                type_name(source));
    list.push_back(convert(item));
  }
  return list;
}

}  // namespace

Array to_output(py::handle source) {
  py::object owner;
  if (const Array* array = array_in(source, owner)) return *array;
  if (py::isinstance<py::array>(source)) {
    auto x = py::reinterpret_borrow<py::array>(source);
    check_type(numpy_dtype(x.dtype()) && shareable(x), "out: a NumPy array of ", to_text(py::str(x.dtype())),
               " with strides ", to_text(py::str(x.attr("strides"))),
               " cannot be written in place: its dtype, byte order or alignment is not that of an Array");
    return from_numpy(std::move(x));
  }
  if (py::hasattr(source, "__dlpack__")) return from_dlpack(source);
  throw TypeError("out: expected an Array, a Tensor or a NumPy array to be written in place, got " +
                  type_name(source));
}

ArrayList to_arrays(py::handle source) { return {list_of<Array>("a sequence of arrays", source, to_array)}; }
OutputList to_outputs(py::handle source) {
  return {list_of<Array>("a sequence of arrays", source, to_output)};
}
NumberList to_numbers(py::handle source) {
  return {list_of<double>("a sequence of numbers", source, to_double)};
}

DType to_dtype(py::handle source) {
  if (py::isinstance<DType>(source)) return source.cast<DType>();
  if (py::isinstance<py::str>(source) && to_text(source) == name(DType::bfloat16)) return DType::bfloat16;
  py::object found;
  try {
    found = py::module_::import("numpy").attr("dtype")(source);
  } catch (py::error_already_set&) {
    refuse_dtype(shown(source));
  }
  const auto dtype = numpy_dtype(found);
  if (!dtype) refuse_dtype(to_text(py::str(found)));
  return *dtype;
}

std::int64_t to_int64(py::handle source) {
  int overflow = 0;
  const py::int_ whole(py::reinterpret_borrow<py::object>(source));
  const std::int64_t value = PyLong_AsLongLongAndOverflow(whole.ptr(), &overflow);
  if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (overflow != 0) {
    const auto bits = whole.attr("bit_length")().cast<std::int64_t>();
    throw ValueError(bits <= 256 ? str("int: ", to_text(py::str(whole)), " does not fit into int64")
                                 : str("int: a number of ", bits, " bits does not fit into int64"));
  }
  return value;
}

double to_double(py::handle source) {
  const double value =
      PyFloat_AsDouble(source.ptr());  // TypeError, and OverflowError for an int beyond 1.8e308
  if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

Dims to_dims(py::handle source) {
  Dims dims;
  if (PyIndex_Check(source.ptr())) {
    dims.push_back(to_int64(source));
    return dims;
  }
  if (!py::isinstance<py::sequence>(source) || py::isinstance<py::str>(source))
    throw TypeError("ints: expected an int or a sequence of ints, got " + type_name(source));
  for (py::handle item : source) {
    if (!PyIndex_Check(item.ptr()))
      throw TypeError("ints: expected a sequence of ints, got one with " + type_name(item));
    dims.push_back(to_int64(item));
  }
  return dims;
}

Pair to_pair(py::handle source) {
  const Dims dims = to_dims(source);
  check_value(dims.n == 1 || dims.n == 2, "ints: expected an int or a pair of ints, got ", dims);
  return {dims[0], dims[dims.n - 1]};
}

py::array to_numpy(const Array& x, py::handle base) {
  check_type(x.dtype() != DType::bfloat16, "numpy: NumPy has no bfloat16; convert to float32 first (shape ",
             x.shape(), ")");
  return to_numpy_as(x, py::dtype(name(x.dtype())), base);
}

py::array bits_of_bfloat16(const Array& x, py::handle base) {
  check_type(x.dtype() == DType::bfloat16, "bfloat16_bits: expected bfloat16, got ", name(x.dtype()));
  return to_numpy_as(x, py::dtype::of<std::uint16_t>(), base);
}

Array bfloat16_of_bits(const py::array& bits) {
  check_type(bits.dtype().kind() == 'u' && bits.itemsize() == 2, "bfloat16_from_bits: expected uint16, got ",
             to_text(py::str(bits.dtype())));
  return from_numpy_as(bits, DType::bfloat16);
}

}  // namespace weft
