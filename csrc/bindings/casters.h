// How Python values become the library's: arrays from anything that has memory, dtypes and shapes from their
// usual spellings.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <functional>
#include <optional>
#include <variant>

#include "core/array.h"
#include "core/error.h"

namespace weft {

namespace py = pybind11;

// Python's lock, let go of for as long as it lives. Unlike pybind11's own guard it outlives the interpreter:
// a thread that comes back while that ends, as daemon threads do, waits for ever instead of ending within a
// destructor, which would abort the process.
class GilReleased {
 public:
  GilReleased() : state_(PyEval_SaveThread()) {}
  ~GilReleased();
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

 private:
  PyThreadState* state_;
};

// f() under Python's lock, where the interpreter still runs.
void with_gil(const std::function<void()>& f);

// An argument that is, or becomes, an Array, sharing memory where it can: an Array, a Tensor (its `.array`),
// a NumPy array, an object with __dlpack__, a number, a nested list.
struct ArrayLike {
  Array array;
  bool is_number = false;  // a Python number: takes the dtype of what it meets
  operator const Array&() const { return array; }
  const Array* operator->() const { return &array; }
};

// None -> nullptr, as optional arguments of ops/ want it.
using OptionalArray = std::optional<ArrayLike>;
inline const Array* pointer(const OptionalArray& x) { return x ? &x->array : nullptr; }

// An argument that is written: an Array, a Tensor, a NumPy array or an object with __dlpack__, whose own
// memory it becomes. What could only be copied is refused, for the result would be lost.
struct Output {
  Array array;
  operator const Array&() const { return array; }
  const Array* operator->() const { return &array; }
};
using OptionalOutput = std::optional<Output>;
inline const Array* pointer(const OptionalOutput& x) { return x ? &x->array : nullptr; }

// Sequences. Only their iteration counts: what they say of their own length may be wrong.
struct ArrayList {
  std::vector<Array> arrays;
};
struct OutputList {
  std::vector<Array> arrays;
};
struct NumberList {
  std::vector<double> values;
};

// A dtype by its object, its name, or anything that numpy.dtype takes.
struct DTypeLike {
  DType dtype;
  operator DType() const { return dtype; }
};

// None: the default device.
using DeviceChoice = std::optional<Device>;
inline Device chosen(const DeviceChoice& device) { return device.value_or(default_device()); }

// An array on the host with x's elements, read without the GIL where it lies on a device; see on_host().
Array read_on_host(const char* op, const Array& x);

// x, or a copy on another device that a recording takes for a constant: for values that come from Python.
Array constant_on(const Array& x, Device device);

// A shape or list of axes: an int or a sequence of ints.
struct DimsLike {
  Dims dims;
  operator const Dims&() const { return dims; }
};

// One int for both axes, or a pair.
struct Pair {
  std::int64_t h, w;
};

// TypeError where that cannot be.
ArrayLike to_array(py::handle source);
Array to_output(py::handle source);
ArrayList to_arrays(py::handle source);
OutputList to_outputs(py::handle source);
NumberList to_numbers(py::handle source);
DType to_dtype(py::handle source);
std::int64_t to_int64(py::handle source);  // ValueError where it does not fit
double to_double(py::handle source);
Dims to_dims(py::handle source);
Pair to_pair(py::handle source);
py::array to_numpy(const Array& x, py::handle base);  // TypeError for bfloat16, which NumPy lacks
// The memory of a bfloat16 array as NumPy's uint16, and the way back; neither copies.
py::array bits_of_bfloat16(const Array& x, py::handle base);
Array bfloat16_of_bits(const py::array& bits);
py::capsule to_dlpack(const Array& x);
// For messages: the name of an object's type, and a str as UTF-8, whose lone surrogates are replaced.
std::string type_name(py::handle x);
std::string to_text(py::handle text);
std::string shown(py::handle x);

}  // namespace weft

namespace pybind11::detail {

template <>
struct type_caster<weft::ArrayLike> {
  PYBIND11_TYPE_CASTER(weft::ArrayLike, const_name("weft.kernels.ArrayLike"));
  bool load(handle source, bool) {
    if (source.is_none()) return false;
    value = weft::to_array(source);
    return true;
  }
};
template <>
struct type_caster<weft::Output> {
  PYBIND11_TYPE_CASTER(weft::Output, const_name("weft.kernels.OutputLike"));
  bool load(handle source, bool) {
    if (source.is_none()) return false;
    value.array = weft::to_output(source);
    return true;
  }
};
template <>
struct type_caster<weft::ArrayList> {
  PYBIND11_TYPE_CASTER(weft::ArrayList, const_name("collections.abc.Sequence[weft.kernels.ArrayLike]"));
  bool load(handle source, bool) {
    value = weft::to_arrays(source);
    return true;
  }
};
template <>
struct type_caster<weft::OutputList> {
  PYBIND11_TYPE_CASTER(weft::OutputList, const_name("collections.abc.Sequence[weft.kernels.OutputLike]"));
  bool load(handle source, bool) {
    value = weft::to_outputs(source);
    return true;
  }
};
template <>
struct type_caster<weft::NumberList> {
  PYBIND11_TYPE_CASTER(weft::NumberList, const_name("collections.abc.Sequence[float]"));
  bool load(handle source, bool) {
    value = weft::to_numbers(source);
    return true;
  }
};
template <>
struct type_caster<weft::DTypeLike> {
  PYBIND11_TYPE_CASTER(weft::DTypeLike, const_name("weft.kernels.DTypeLike"));
  bool load(handle source, bool) {
    if (source.is_none()) return false;
    value.dtype = weft::to_dtype(source);
    return true;
  }
};
template <>
struct type_caster<weft::DimsLike> {
  PYBIND11_TYPE_CASTER(weft::DimsLike, const_name("weft.kernels.Ints"));
  bool load(handle source, bool) {
    if (source.is_none()) return false;
    value.dims = weft::to_dims(source);
    return true;
  }
};
template <>
struct type_caster<weft::Pair> {
  PYBIND11_TYPE_CASTER(weft::Pair, const_name("weft.kernels.Ints"));
  bool load(handle source, bool) {
    if (source.is_none()) return false;
    value = weft::to_pair(source);
    return true;
  }
};
template <>
struct type_caster<weft::Dims> {
  PYBIND11_TYPE_CASTER(weft::Dims, const_name("tuple[int, ...]"));
  static handle cast(const weft::Dims& dims, return_value_policy, handle) {
    tuple result(dims.n);
    for (int i = 0; i < dims.n; ++i) result[i] = int_(dims[i]);
    return result.release();
  }
};
template <>
struct type_caster<weft::Device> {
  PYBIND11_TYPE_CASTER(weft::Device, const_name("str"));
  bool load(handle source, bool) {
    if (!isinstance<str>(source)) return false;
    value = weft::parse_device(weft::to_text(source));
    return true;
  }
  static handle cast(const weft::Device& device, return_value_policy, handle) {
    return str(weft::str(device)).release();
  }
};

}  // namespace pybind11::detail
