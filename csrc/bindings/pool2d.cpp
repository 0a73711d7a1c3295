#include "ops/pool2d.h"

#include "bindings/bindings.h"
#include "core/error.h"

namespace weft {

namespace {

using OptionalPair = std::optional<Pair>;

Pool2dOptions options_of(Pair kernel, OptionalPair stride, Pair padding, Pair dilation, bool ceil_mode) {
  const Pair step = stride.value_or(kernel);
  return {kernel.h, kernel.w, step.h, step.w, padding.h, padding.w, dilation.h, dilation.w, ceil_mode};
}

using WithIndex = std::pair<Array, Array>;

constexpr const char* window_doc =
    "\n\nx: (N, C, H, W) or (C, H, W), float32 or float64. stride: kernel_size where None. Output height "
    "floor((H + 2 padding - dilation (R - 1) - 1) / stride) + 1; ceil_mode rounds up, but no window starts "
    "in "
    "the padding at the end. ";
constexpr const char* errors_doc =
    "\nValueError for another rank, a stride or kernel below 1, a padding above half of the kernel, a kernel "
    "larger than the padded image; TypeError for another dtype.";

void bind_max(py::module_& m, const char* op, bool minimum, const char* head) {
  const std::string doc = std::string(head) + window_doc +
                          "Returns (out, index): index int32, h * W + w of the first extreme element of each "
                          "window. NaN wins. Padding never wins." +
                          errors_doc;
  m.def(
      op,
      [op, minimum](const ArrayLike& x, Pair kernel, OptionalPair stride, Pair padding, Pair dilation,
                    bool ceil_mode) {
        const auto options = options_of(kernel, stride, padding, dilation, ceil_mode);
        Array index;
        Array out = max_pool2d(op, x, pool2d_params(op, x->shape(), options), minimum, &index);
        return WithIndex(out, index);
      },
      py::arg("x"), py::arg("kernel_size"), py::arg("stride") = py::none(), py::arg("padding") = 0,
      py::arg("dilation") = 1, py::arg("ceil_mode") = false, ReleaseGil(), doc.c_str());
}

void bind_avg(py::module_& m) {
  m.def(
      "avg_pool2d",
      [](const ArrayLike& x, Pair kernel, OptionalPair stride, Pair padding, bool ceil_mode, bool include,
         std::optional<std::int64_t> divisor) {
        const auto options = options_of(kernel, stride, padding, {1, 1}, ceil_mode);
        return avg_pool2d("avg_pool2d", x, pool2d_params("avg_pool2d", x->shape(), options), include,
                          divisor);
      },
      py::arg("x"), py::arg("kernel_size"), py::arg("stride") = py::none(), py::arg("padding") = 0,
      py::arg("ceil_mode") = false, py::arg("count_include_pad") = true,
      py::arg("divisor_override") = py::none(), ReleaseGil(),
      (std::string("The mean of each window.") + window_doc +
       "The divisor is the window's size with padding (count_include_pad) or without, or divisor_override." +
       errors_doc)
          .c_str());
  m.def(
      "avg_pool2d_backward",
      [](const ArrayLike& dout, const DimsLike& input, Pair kernel, OptionalPair stride, Pair padding,
         bool ceil_mode, bool include, std::optional<std::int64_t> divisor) {
        const char* op = "avg_pool2d_backward";
        const auto options = options_of(kernel, stride, padding, {1, 1}, ceil_mode);
        return avg_pool2d_backward(op, dout, input, pool2d_params(op, input, options), include, divisor);
      },
      py::arg("dout"), py::arg("input_size"), py::arg("kernel_size"), py::arg("stride") = py::none(),
      py::arg("padding") = 0, py::arg("ceil_mode") = false, py::arg("count_include_pad") = true,
      py::arg("divisor_override") = py::none(), ReleaseGil(),
      "The gradient of avg_pool2d by its input: each element of dout, divided as in the forward pass, added "
      "to "
      "every element of its window.\n\ndout: the output's shape. Returns shape input_size. Errors as in "
      "avg_pool2d.");
}

void bind_lp(py::module_& m) {
  m.def(
      "lp_pool2d",
      [](const ArrayLike& x, double norm, Pair kernel, OptionalPair stride, bool ceil_mode) {
        const auto options = options_of(kernel, stride, {0, 0}, {1, 1}, ceil_mode);
        return lp_pool2d(x, pool2d_params("lp_pool2d", x->shape(), options), norm);
      },
      py::arg("x"), py::arg("norm_type"), py::arg("kernel_size"), py::arg("stride") = py::none(),
      py::arg("ceil_mode") = false, ReleaseGil(),
      (std::string("(sum |x|^p)^(1/p) over each window, p = norm_type > 0.") + window_doc + errors_doc)
          .c_str());
  m.def(
      "lp_pool2d_backward",
      [](const ArrayLike& dout, const ArrayLike& x, const ArrayLike& out, double norm, Pair kernel,
         OptionalPair stride, bool ceil_mode) {
        const auto options = options_of(kernel, stride, {0, 0}, {1, 1}, ceil_mode);
        return lp_pool2d_backward(dout, x, out, pool2d_params("lp_pool2d_backward", x->shape(), options),
                                  norm);
      },
      py::arg("dout"), py::arg("x"), py::arg("out"), py::arg("norm_type"), py::arg("kernel_size"),
      py::arg("stride") = py::none(), py::arg("ceil_mode") = false, ReleaseGil(),
      "The gradient of lp_pool2d by its input: dout * sign(x) * (|x| / out)^(p - 1), summed over the "
      "windows; "
      "0 where x or out is 0.\n\nx, out: input and output of the forward pass. Errors as in lp_pool2d.");
}

void bind_adaptive(py::module_& m) {
  m.def(
      "adaptive_avg_pool2d",
      [](const ArrayLike& x, Pair size) {
        const char* op = "adaptive_avg_pool2d";
        return avg_pool2d(op, x, adaptive_pool2d_params(op, x->shape(), size.h, size.w), false, {});
      },
      py::arg("x"), py::arg("output_size"), ReleaseGil(),
      "The mean over windows that give the output size (P, Q): rows floor(i H / P) to ceil((i + 1) H / "
      "P).\n\n"
      "x: (N, C, H, W) or (C, H, W), float32 or float64. ValueError for another rank or a size below 1.");
  m.def(
      "adaptive_avg_pool2d_backward",
      [](const ArrayLike& dout, const DimsLike& input) {
        const char* op = "adaptive_avg_pool2d_backward";
        const std::int64_t P = dout->ndim() < 2 ? 1 : dout->shape(-2),
                           Q = dout->ndim() < 2 ? 1 : dout->shape(-1);
        return avg_pool2d_backward(op, dout, input, adaptive_pool2d_params(op, input, P, Q), false, {});
      },
      py::arg("dout"), py::arg("input_size"), ReleaseGil(),
      "The gradient of adaptive_avg_pool2d by its input. dout: the output's shape. Returns shape "
      "input_size.");
  m.def(
      "adaptive_max_pool2d",
      [](const ArrayLike& x, Pair size) {
        const char* op = "adaptive_max_pool2d";
        Array index;
        Array out = max_pool2d(op, x, adaptive_pool2d_params(op, x->shape(), size.h, size.w), false, &index);
        return WithIndex(out, index);
      },
      py::arg("x"), py::arg("output_size"), ReleaseGil(),
      "(out, index) of the maximum over the windows of adaptive_avg_pool2d; index int32, h * W + w.\n\n"
      "x: (N, C, H, W) or (C, H, W), float32 or float64. ValueError for another rank or a size below 1.");
}

}  // namespace

void bind_pool2d(py::module_& m) {
  bind_max(m, "max_pool2d", false, "The maximum of each window.");
  bind_max(m, "min_pool2d", true, "The minimum of each window.");
  m.def(
      "max_pool2d_backward",
      [](const ArrayLike& dout, const ArrayLike& index, const DimsLike& input, OptionalPair kernel,
         OptionalPair stride, Pair padding, Pair dilation, bool ceil_mode) {
        if (!kernel) return max_pool2d_backward(dout, index, input, nullptr);
        const auto options = options_of(*kernel, stride, padding, dilation, ceil_mode);
        return max_pool2d_backward(dout, index, input, &options);
      },
      py::arg("dout"), py::arg("index"), py::arg("input_size"), py::arg("kernel_size") = py::none(),
      py::arg("stride") = py::none(), py::arg("padding") = 0, py::arg("dilation") = 1,
      py::arg("ceil_mode") = false, ReleaseGil(),
      "The gradient of max_pool2d, min_pool2d and adaptive_max_pool2d by their input: dx[index] += dout, "
      "else 0.\n\ndout, index: the output's shape; index int32, as the forward pass gave it (one outside of "
      "the "
      "image adds nothing). kernel_size and on: the forward pass's windows. They may be left out, and then "
      "any "
      "index is one of the plane; with them a device can be quicker, and an index outside of its window may "
      "add "
      "nothing. Returns shape input_size.\nValueError for shapes that do not fit.");
  bind_avg(m);
  bind_lp(m);
  bind_adaptive(m);
}

}  // namespace weft
