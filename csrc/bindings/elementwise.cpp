#include "ops/elementwise.h"

#include <limits>

#include "bindings/bindings.h"
#include "core/error.h"
#include "ops/formulas.h"

namespace weft {

namespace {

// The operands of `op` in one dtype: a Python number takes that of the other.
void match(const char* op, ArrayLike& a, ArrayLike& b) {
  if (a.is_number && b.is_number)
    match_numbers(a.array, b.array);
  else if (a.is_number)
    match_number(op, a.array, b.array);
  else if (b.is_number)
    match_number(op, b.array, a.array);
}

void bind_unary_one(py::module_& m, UnaryOp op, const char* formula, const char* dtypes) {
  const std::string doc = std::string(formula) + "\n\nx: any shape and strides; " + dtypes +
                          "\nout: the array to write into (it may be x), else a new one."
                          "\nTypeError for another dtype; ValueError where out has another shape.";
  m.def(
      name(op), [op](const ArrayLike& x, const OptionalOutput& out) { return unary(op, x, pointer(out)); },
      py::arg("x"), py::arg("out") = py::none(), ReleaseGil(), doc.c_str());
}

void bind_binary_one(py::module_& m, BinaryOp op, const char* formula, const char* dtypes) {
  const std::string doc =
      std::string(formula) + "\n\na, b: shapes that broadcast as in NumPy; " + dtypes +
      "\nA Python number takes the dtype of the other operand; a float with an integer array makes both "
      "float32.\nout: the array to write into (it may be a or b), else a new one.\n"
      "ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.";
  m.def(
      name(op),
      [op](ArrayLike a, ArrayLike b, const OptionalOutput& out) {
        match(name(op), a, b);
        return binary(op, a, b, pointer(out));
      },
      py::arg("a"), py::arg("b"), py::arg("out") = py::none(), ReleaseGil(), doc.c_str());
}

// The dtypes that a kind takes and gives; clip, which has bounds, is bound by hand.
const char* dtypes_of_one(Kind kind) {
  switch (kind) {
    case Kind::floating: return "float32, float64 or bfloat16, kept.";
    case Kind::number: return "any dtype but bool, kept. Integers that do not fit wrap around.";
    default: return "any dtype. Returns bool.";
  }
}
const char* dtypes_of_two(Kind kind) {
  switch (kind) {
    case Kind::floating: return "one dtype, any but bool. Integers give float32.";
    case Kind::number: return "one dtype, any but bool, kept. Integers that do not fit wrap around.";
    default: return "one dtype. Returns bool.";
  }
}

void bind_listed(py::module_& m) {
#define WEFT_BIND_1(name, kind, cost, real, whole, doc) \
  if (UnaryOp::name != UnaryOp::clip) bind_unary_one(m, UnaryOp::name, doc, dtypes_of_one(Kind::kind));
#define WEFT_BIND_2(name, kind, cost, real, whole, doc) \
  bind_binary_one(m, BinaryOp::name, doc, dtypes_of_two(Kind::kind));
  WEFT_UNARY(WEFT_BIND_1)
  WEFT_BINARY(WEFT_BIND_2)
#undef WEFT_BIND_1
#undef WEFT_BIND_2
}

Array arange_of(const py::object& start, const py::object& stop, const py::object& step,
                const std::optional<DTypeLike>& dtype, const DeviceChoice& device) {
  const py::object from = stop.is_none() ? py::int_(0) : start, to = stop.is_none() ? start : stop;
  if (PyIndex_Check(from.ptr()) && PyIndex_Check(to.ptr()) && PyIndex_Check(step.ptr()))
    return arange(to_int64(from), to_int64(to), to_int64(step), dtype ? dtype->dtype : DType::int64,
                  chosen(device));
  return arange(to_double(from), to_double(to), to_double(step), dtype ? dtype->dtype : DType::float32,
                chosen(device));
}

}  // namespace

void bind_elementwise(py::module_& m) {
  bind_listed(m);
  m.def(
      "clip",
      [](const ArrayLike& x, std::optional<double> min, std::optional<double> max,
         const OptionalOutput& out) {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        return clip(x, min.value_or(-infinity), max.value_or(infinity), pointer(out));
      },
      py::arg("x"), py::arg("min") = py::none(), py::arg("max") = py::none(), py::arg("out") = py::none(),
      ReleaseGil(),
      "min where x is below it, max where x is above it, else x; NaN stays.\n\n"
      "x: any shape and strides, any dtype but bool, kept; bounds of integers are rounded inwards.\n"
      "out: the array to write into (it may be x), else a new one.\nValueError where min > max.");
  m.def(
      "where",
      [](const ArrayLike& condition, ArrayLike a, ArrayLike b) {
        match("where", a, b);
        return where(condition, a, b);
      },
      py::arg("condition"), py::arg("a"), py::arg("b"), ReleaseGil(),
      "a where condition is True, else b.\n\n"
      "condition: bool. a, b: one dtype; a Python number takes that of the other one. The three shapes "
      "broadcast as in NumPy.\nValueError for shapes that do not; TypeError for other dtypes.");
  m.def("arange", &arange_of, py::arg("start"), py::arg("stop") = py::none(), py::arg("step") = 1,
        py::arg("dtype") = py::none(), py::arg("device") = py::none(),
        "start, start + step, ... up to but without stop; arange(n) starts at 0.\n\n"
        "Returns rank 1; int64 for ints, float32 if one of them is a float, unless dtype is given.\n"
        "ValueError for a step of 0.");
}

}  // namespace weft
