#include "ops/elementwise.h"

#include <limits>

#include "bindings/bindings.h"
#include "core/error.h"

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

void bind_unary(py::module_& m) {
  const auto bind = [&](UnaryOp op, const char* formula, const char* dtypes) {
    bind_unary_one(m, op, formula, dtypes);
  };
  const char* floating = "float32, float64 or bfloat16, kept.";
  const char* number = "any dtype but bool, kept. Integers wrap around.";
  const char* kept = "any dtype but bool, kept.";
  const char* whole = "any dtype but bool, kept. Integers stay as they are.";
  const char* any = "any dtype. Returns bool.";
  bind(UnaryOp::neg, "-x.", number);
  bind(UnaryOp::abs, "|x|.", number);
  bind(UnaryOp::sign, "-1, 0 or 1; NaN for NaN.", kept);
  bind(UnaryOp::square, "x * x.", number);
  bind(UnaryOp::sqrt, "The square root; NaN below 0.", floating);
  bind(UnaryOp::rsqrt, "1 / sqrt(x).", floating);
  bind(UnaryOp::reciprocal, "1 / x.", floating);
  bind(UnaryOp::exp, "e to the power x.", floating);
  bind(UnaryOp::expm1, "exp(x) - 1, exact near 0.", floating);
  bind(UnaryOp::log, "The natural logarithm; -inf at 0, NaN below.", floating);
  bind(UnaryOp::log1p, "log(1 + x), exact near 0.", floating);
  bind(UnaryOp::sin, "The sine of x in radians.", floating);
  bind(UnaryOp::cos, "The cosine of x in radians.", floating);
  bind(UnaryOp::erf, "The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
       floating);
  bind(UnaryOp::floor, "The largest whole number that is not above x.", whole);
  bind(UnaryOp::ceil, "The smallest whole number that is not below x.", whole);
  bind(UnaryOp::round, "The nearest whole number, halves to the even one.", whole);
  bind(UnaryOp::isnan, "Whether x is NaN.", any);
  bind(UnaryOp::isfinite, "Whether x is neither NaN nor infinite.", any);
  bind(UnaryOp::logical_not, "Whether x is 0.", any);
}

void bind_binary(py::module_& m) {
  const auto bind = [&](BinaryOp op, const char* formula, const char* dtypes) {
    bind_binary_one(m, op, formula, dtypes);
  };
  const char* number = "one dtype, any but bool, kept. Integers wrap around.";
  const char* kept = "one dtype, any but bool, kept.";
  const char* any = "one dtype. Returns bool.";
  bind(BinaryOp::add, "a + b.", number);
  bind(BinaryOp::sub, "a - b.", number);
  bind(BinaryOp::mul, "a * b.", number);
  bind(BinaryOp::div, "a / b, true division.", "one dtype, any but bool. Integers give float32.");
  bind(BinaryOp::pow, "a to the power b. A negative power of an integer is cut to a whole number.", number);
  bind(BinaryOp::floor_divide, "floor(a / b). An integer divided by 0 gives 0.", number);
  bind(BinaryOp::remainder, "a - b * floor(a / b), which has the sign of b. 0 for an integer b of 0.",
       number);
  bind(BinaryOp::maximum, "The larger one; NaN if one is NaN.", kept);
  bind(BinaryOp::minimum, "The smaller one; NaN if one is NaN.", kept);
  bind(BinaryOp::eq, "a == b.", any);
  bind(BinaryOp::ne, "a != b; True where one is NaN.", any);
  bind(BinaryOp::lt, "a < b.", any);
  bind(BinaryOp::le, "a <= b.", any);
  bind(BinaryOp::gt, "a > b.", any);
  bind(BinaryOp::ge, "a >= b.", any);
  bind(BinaryOp::logical_and, "Whether both differ from 0.", any);
  bind(BinaryOp::logical_or, "Whether one or both differ from 0.", any);
  bind(BinaryOp::logical_xor, "Whether exactly one differs from 0.", any);
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
  bind_unary(m);
  bind_binary(m);
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
