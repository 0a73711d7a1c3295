#include "ops/index.h"

#include "bindings/bindings.h"
#include "core/error.h"

namespace weft {

namespace {

void bind_by_index(py::module_& m) {
  m.def(
      "index_select",
      [](const ArrayLike& x, std::int64_t axis, const ArrayLike& index, bool check) {
        return index_select(x, axis, index, check);
      },
      py::arg("x"), py::arg("axis"), py::arg("index"), py::arg("check") = true, ReleaseGil(),
      "out[..., i, ...] = x[..., index[i], ...] along one axis.\n\n"
      "x: any shape, any dtype. index: int64 or int32, shape (count,), -n <= index < n; negative ones count "
      "from the end. Returns x's shape with `count` along the axis. check=False leaves out the check of the "
      "indices, and is unsafe: one out of range then reads foreign memory.\n"
      "IndexError for an index out of range.");
  m.def(
      "index_add",
      [](const Output& out, std::int64_t axis, const ArrayLike& index, const ArrayLike& x) {
        index_add(out, axis, index, x);
      },
      py::arg("out"), py::arg("axis"), py::arg("index"), py::arg("x"), ReleaseGil(),
      "out[..., index[i], ...] += x[..., i, ...] in place, in the order of i: the gradient of "
      "index_select.\n\n"
      "out: contiguous, any dtype but bool. x: out's dtype and its shape with `count` along the axis. index: "
      "as "
      "in index_select.\nValueError for other shapes; IndexError for an index out of range.");
  m.def(
      "gather",
      [](const ArrayLike& x, std::int64_t axis, const ArrayLike& index) { return gather(x, axis, index); },
      py::arg("x"), py::arg("axis"), py::arg("index"), ReleaseGil(),
      "out[i, j, k] = x[i, index[i, j, k], k], here for axis 1 of three.\n\n"
      "x: any shape, any dtype. index: int64 or int32, x's shape but for the axis, -n <= index < n. Returns "
      "index's shape.\nIndexError for an index out of range.");
  m.def(
      "scatter_add",
      [](const Output& out, std::int64_t axis, const ArrayLike& index, const ArrayLike& x) {
        scatter_add(out, axis, index, x);
      },
      py::arg("out"), py::arg("axis"), py::arg("index"), py::arg("x"), ReleaseGil(),
      "out[i, index[i, j, k], k] += x[i, j, k] in place, in the order of j: the gradient of gather.\n\n"
      "out: contiguous, any dtype but bool. x and index: one shape, out's but for the axis.\n"
      "ValueError for other shapes; IndexError for an index out of range.");
  m.def(
      "one_hot",
      [](const ArrayLike& index, std::int64_t classes, DTypeLike dtype) {
        return one_hot(index, classes, dtype);
      },
      py::arg("index"), py::arg("num_classes") = -1, py::arg("dtype") = "int64", ReleaseGil(),
      "out[..., c] = 1 where index[...] is c, else 0.\n\n"
      "index: int64 or int32, any shape, 0 <= index < num_classes; -1 takes the largest index + 1 as "
      "num_classes.\nReturns shape index.shape + (num_classes,).\nIndexError for an index out of range.");
}

}  // namespace

void bind_index(py::module_& m) {
  bind_by_index(m);
  m.def(
      "cat",
      [](const ArrayList& given, std::int64_t axis) {
        return concatenate(given.arrays.data(), static_cast<int>(given.arrays.size()), axis);
      },
      py::arg("arrays"), py::arg("axis") = 0, ReleaseGil(),
      "The arrays joined along an axis.\n\narrays: a sequence, of one dtype, shapes the same but for the "
      "axis.\nValueError for no arrays or other shapes; TypeError for different dtypes.");
  m.def(
      "stack",
      [](const ArrayList& given, std::int64_t axis) {
        return stack(given.arrays.data(), static_cast<int>(given.arrays.size()), axis);
      },
      py::arg("arrays"), py::arg("axis") = 0, ReleaseGil(),
      "The arrays joined along a new axis.\n\narrays: a sequence, of one dtype and one shape.\n"
      "ValueError for no arrays or different shapes; TypeError for different dtypes.");
  m.def(
      "pad",
      [](const ArrayLike& x, const DimsLike& before, const DimsLike& after, double value) {
        return pad(x, before, after, value);
      },
      py::arg("x"), py::arg("before"), py::arg("after"), py::arg("value") = 0.0, ReleaseGil(),
      "x with `value` around it: before[i] and after[i] elements along axis i. Negative widths crop.\n\n"
      "x: any shape, any dtype. Returns shape before + x.shape + after.\n"
      "ValueError where a width is missing, or crops more than there is.");
}

}  // namespace weft
