#include "ops/reduce.h"

#include "bindings/bindings.h"
#include "core/error.h"

namespace weft {

namespace {

Dims axes_of(const std::optional<DimsLike>& axis) { return axis ? axis->dims : Dims{}; }

void bind_one(py::module_& m, ReduceOp op, const char* formula, const char* dtypes) {
  const std::string doc = std::string(formula) +
                          "\n\naxis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with "
                          "size 1.\nx: any shape and strides; " +
                          dtypes + "\nIndexError for an axis out of range; ValueError for one given twice.";
  m.def(
      name(op),
      [op](const ArrayLike& x, const std::optional<DimsLike>& axis, bool keepdim) {
        return reduce(op, x, axes_of(axis), keepdim);
      },
      py::arg("x"), py::arg("axis") = py::none(), py::arg("keepdim") = false, ReleaseGil(), doc.c_str());
}

}  // namespace

void bind_reduce(py::module_& m) {
  const char* sums = "floats keep their dtype, integers and bool give int64.";
  const char* floating = "float32, float64 or bfloat16, kept.";
  const char* any = "any dtype, kept. ValueError where there are no elements to reduce.";
  const char* one_axis = "any dtype; int64 comes out. ValueError for several axes or no elements.";
  const char* truth = "any dtype; bool comes out.";
  bind_one(m, ReduceOp::sum, "The sum; 0 for no elements.", sums);
  bind_one(m, ReduceOp::prod, "The product; 1 for no elements.", sums);
  bind_one(m, ReduceOp::mean, "The arithmetic mean; NaN for no elements.", floating);
  bind_one(m, ReduceOp::sum_squares, "The sum of the squares.", floating);
  bind_one(m, ReduceOp::max, "The largest element; NaN if there is one.", any);
  bind_one(m, ReduceOp::min, "The smallest element; NaN if there is one.", any);
  bind_one(
      m, ReduceOp::argmax,
      "The index of the largest element: the first of equal ones, or of the first NaN. Without an axis it "
      "counts through the flattened array.",
      one_axis);
  bind_one(
      m, ReduceOp::argmin,
      "The index of the smallest element: the first of equal ones, or of the first NaN. Without an axis it "
      "counts through the flattened array.",
      one_axis);
  bind_one(m, ReduceOp::any, "Whether some element differs from 0; False for no elements.", truth);
  bind_one(m, ReduceOp::all, "Whether every element differs from 0; True for no elements.", truth);
  m.def(
      "var",
      [](const ArrayLike& x, const std::optional<DimsLike>& axis, bool keepdim, double correction) {
        return reduce(ReduceOp::var, x, axes_of(axis), keepdim, correction);
      },
      py::arg("x"), py::arg("axis") = py::none(), py::arg("keepdim") = false, py::arg("correction") = 1.0,
      ReleaseGil(),
      "The variance, sum((x - mean)^2) / (n - correction); NaN where n <= correction.\n\n"
      "axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.\n"
      "x: any shape and strides; float32, float64 or bfloat16, kept.");
}

}  // namespace weft
