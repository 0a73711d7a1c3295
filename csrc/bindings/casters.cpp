#include "bindings/casters.h"

#include "bindings/dlpack.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/recording.h"
#include "core/stream.h"
#include "ops/elementwise.h"

namespace weft {

namespace {

std::string type_name(py::handle x) { return py::str(py::type::of(x).attr("__name__")); }

// A release function for memory that a Python object owns. Runs on any thread, with or without the GIL.
std::function<void()> keep_alive(py::object owner) {
  return [raw = owner.release().ptr()] {
    if (!Py_IsInitialized()) return;
    py::gil_scoped_acquire gil;
    Py_DECREF(raw);
  };
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

// `dtype`: what the elements are.
Array from_numpy_as(py::array x, DType dtype) {
  if (!shareable(x)) {
    const auto numpy = py::module_::import("numpy");
    x = numpy.attr("ascontiguousarray")(x, x.dtype().attr("newbyteorder")("="));
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
  return Array(std::move(storage), 0, shape, strides, dtype);
}

Array from_numpy(py::array x) {
  const auto dtype = numpy_dtype(x.dtype());
  if (!dtype) refuse_dtype(py::str(x.dtype()));
  return from_numpy_as(std::move(x), *dtype);
}

Array from_dlpack(py::handle source) {
  Device device;
  if (py::hasattr(source, "__dlpack_device__")) {
    const auto place = source.attr("__dlpack_device__")().cast<std::pair<int, int>>();
    if (place.first == kDLCUDA) device = {Device::Kind::cuda, place.second};
  }
  // A producer on a device makes what it queued come before what is queued on our stream from now on.
  Stream* const queue = device.kind == Device::Kind::cpu ? nullptr : &current_stream(device);
  const py::object given =
      queue ? source.attr("__dlpack__")(py::arg("stream") = reinterpret_cast<std::uintptr_t>(queue->native()))
            : source.attr("__dlpack__")();
  py::capsule capsule = given;
  if (std::string(capsule.name()) != "dltensor") throw TypeError("array: not a fresh DLPack capsule");
  auto* managed = capsule.get_pointer<DLManagedTensor>();
  const DLTensor& t = managed->dl_tensor;
  check_state(t.device.device_type == (device.kind == Device::Kind::cpu ? kDLCPU : kDLCUDA),
              "array: DLPack device type ", t.device.device_type, " cannot be read by this build");
  const auto dtype = dtype_of_dlpack(t.dtype);
  if (!dtype) refuse_dtype(str("with DLPack code ", int{t.dtype.code}, " and ", int{t.dtype.bits}, " bits"));
  Dims shape, strides;
  for (int i = 0; i < t.ndim; ++i) shape.push_back(t.shape[i]);
  if (t.strides)
    for (int i = 0; i < t.ndim; ++i) strides.push_back(t.strides[i]);
  else
    strides = contiguous_strides(shape);
  auto storage = std::make_shared<Storage>();
  storage->data = static_cast<char*>(t.data) + t.byte_offset;
  storage->device = device;
  if (queue) storage->stream = queue;  // who uses it on another one comes after the producer's work too
  storage->nbytes = static_cast<std::size_t>(product(shape)) * itemsize(*dtype);
  // From here on the tensor is ours to delete.
  capsule.set_name("used_dltensor");
  storage->release = [managed] {
    if (!managed->deleter || !Py_IsInitialized()) return;
    py::gil_scoped_acquire gil;
    managed->deleter(managed);
  };
  return Array(std::move(storage), 0, shape, strides, *dtype);
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
  const py::gil_scoped_release release;
  const Unrecorded constant;
  return moved(x, device);
}

Array read_on_host(const char* op, const Array& x) {
  const py::gil_scoped_release release;
  return on_host(op, dense(x));
}

namespace {
Array on_default(const Array& x) { return constant_on(x, default_device()); }
}  // namespace

ArrayLike to_array(py::handle source) {
  // The type is looked up once: most arguments are Arrays, and a search for each would show.
  static const PyTypeObject* const array_type = reinterpret_cast<PyTypeObject*>(py::type::of<Array>().ptr());
  if (Py_TYPE(source.ptr()) == array_type) return {source.cast<const Array&>()};
  if (PyBool_Check(source.ptr())) return number<bool>(source.ptr() == Py_True);
  if (PyFloat_CheckExact(source.ptr())) return number<double>(PyFloat_AS_DOUBLE(source.ptr()));
  if (PyLong_CheckExact(source.ptr())) return number<std::int64_t>(to_int64(source));
  if (py::isinstance<py::array>(source))
    return {on_default(from_numpy(py::reinterpret_borrow<py::array>(source)))};
  if (py::hasattr(source, "array")) {
    const py::object inner = source.attr("array");
    if (py::isinstance<Array>(inner)) return {inner.cast<const Array&>()};
  }
  if (py::hasattr(source, "__dlpack__")) return {from_dlpack(source)};
  if (py::isinstance<py::sequence>(source) || py::hasattr(source, "__array__"))
    if (!py::isinstance<py::str>(source)) return {on_default(from_sequence(source))};
  throw TypeError("array: cannot make an array from " + type_name(source));
}

DType to_dtype(py::handle source) {
  if (py::isinstance<DType>(source)) return source.cast<DType>();
  if (py::isinstance<py::str>(source) && source.cast<std::string>() == name(DType::bfloat16))
    return DType::bfloat16;
  py::object found;
  try {
    found = py::module_::import("numpy").attr("dtype")(source);
  } catch (py::error_already_set&) {
    refuse_dtype(py::repr(source));
  }
  const auto dtype = numpy_dtype(found);
  if (!dtype) refuse_dtype(py::str(found));
  return *dtype;
}

std::int64_t to_int64(py::handle source) {
  int overflow = 0;
  const py::int_ whole(py::reinterpret_borrow<py::object>(source));
  const std::int64_t value = PyLong_AsLongLongAndOverflow(whole.ptr(), &overflow);
  check_value(overflow == 0, "array: ", std::string(py::str(whole)), " does not fit into int64");
  return value;
}

double to_double(py::handle source) {
  const double value = PyFloat_AsDouble(source.ptr());
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
    throw TypeError("expected an int or a sequence of ints, got " + type_name(source));
  for (py::handle item : source) {
    if (!PyIndex_Check(item.ptr()))
      throw TypeError("expected a sequence of ints, got one with " + type_name(item));
    dims.push_back(to_int64(item));
  }
  return dims;
}

Pair to_pair(py::handle source) {
  const Dims dims = to_dims(source);
  check_value(dims.n == 1 || dims.n == 2, "expected an int or a pair of ints, got ", dims);
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
             std::string(py::str(bits.dtype())));
  return from_numpy_as(bits, DType::bfloat16);
}

}  // namespace weft
