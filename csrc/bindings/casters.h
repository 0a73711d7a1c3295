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

// An argument of a type is what `convert` makes of it, and shown as `text` in signatures. None is none, but
// for those that `convert` refuses by itself.
#define WEFT_ARGUMENT(Type, text, convert, refuses_none)     \
  template <>                                                \
  struct type_caster<Type> {                                 \
    PYBIND11_TYPE_CASTER(Type, const_name(text));            \
    bool load(handle source, bool) {                         \
      if (!(refuses_none) && source.is_none()) return false; \
      value = {convert(source)};                             \
      return true;                                           \
    }                                                        \
  };

namespace pybind11::detail {

WEFT_ARGUMENT(weft::ArrayLike, "weft.kernels.ArrayLike", weft::to_array, false)
WEFT_ARGUMENT(weft::Output, "weft.kernels.OutputLike", weft::to_output, false)
WEFT_ARGUMENT(weft::ArrayList, "collections.abc.Sequence[weft.kernels.ArrayLike]", weft::to_arrays, true)
WEFT_ARGUMENT(weft::OutputList, "collections.abc.Sequence[weft.kernels.OutputLike]", weft::to_outputs, true)
WEFT_ARGUMENT(weft::NumberList, "collections.abc.Sequence[float]", weft::to_numbers, true)
WEFT_ARGUMENT(weft::DTypeLike, "weft.kernels.DTypeLike", weft::to_dtype, false)
WEFT_ARGUMENT(weft::DimsLike, "weft.kernels.Ints", weft::to_dims, false)
WEFT_ARGUMENT(weft::Pair, "weft.kernels.Ints", weft::to_pair, false)

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
