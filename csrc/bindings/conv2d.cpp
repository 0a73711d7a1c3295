#include "ops/conv2d.h"

#include "bindings/bindings.h"
#include "core/error.h"
#include "ops/conv2d_relu_max_pool2d.h"
#include "ops/reduce.h"

namespace weft {

namespace {

// padding: int, (h, w), (top, bottom, left, right), "same" or "valid".
struct Padding {
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;
  bool same = false;
};

Padding to_padding(py::handle source) {
  if (py::isinstance<py::str>(source)) {
    const std::string text = to_text(source);
    check_value(text == "same" || text == "valid",
                "conv2d: padding must be an int, 2 or 4 ints, 'same' or 'valid', got '", text, "'");
    Padding padding;
    padding.same = text == "same";
    return padding;
  }
  const Dims d = to_dims(source);
  check_value(d.n == 1 || d.n == 2 || d.n == 4,
              "conv2d: padding must be an int, 2 or 4 ints, 'same' or 'valid', got ", d);
  if (d.n == 4) return {d[0], d[1], d[2], d[3]};
  return {d[0], d[0], d[d.n - 1], d[d.n - 1]};
}

}  // namespace
}  // namespace weft

namespace pybind11::detail {
WEFT_ARGUMENT(weft::Padding, "weft.kernels.Ints | str", weft::to_padding, false)
}  // namespace pybind11::detail

namespace weft {

namespace {

Conv2dOptions options(const Pair& stride, const Padding& padding, const Pair& dilation, std::int64_t groups) {
  Conv2dOptions o;
  o.stride_h = stride.h;
  o.stride_w = stride.w;
  o.pad_top = padding.top;
  o.pad_bottom = padding.bottom;
  o.pad_left = padding.left;
  o.pad_right = padding.right;
  o.same = padding.same;
  o.dilation_h = dilation.h;
  o.dilation_w = dilation.w;
  o.groups = groups;
  return o;
}

void bind_backward(py::module_& m) {
  m.def(
      "conv2d_backward_input",
      [](const ArrayLike& dout, const ArrayLike& weight, const DimsLike& size, Pair stride,
         const Padding& padding, Pair dilation, std::int64_t groups) {
        return conv2d_backward_input(dout, weight, size, options(stride, padding, dilation, groups));
      },
      py::arg("dout"), py::arg("weight"), py::arg("input_size"), py::arg("stride") = 1,
      py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("groups") = 1, ReleaseGil(),
      "The gradient of conv2d by its input.\n\n"
      "dout: (N, K, P, Q), the gradient of the output; weight: (K, C/groups, R, S); input_size: (N, C, H, "
      "W). Options "
      "as in conv2d. Returns (N, C, H, W).\nValueError where dout does not have the output's shape.");
  m.def(
      "conv2d_backward_weight",
      [](const ArrayLike& dout, const ArrayLike& x, const DimsLike& size, Pair stride, const Padding& padding,
         Pair dilation, std::int64_t groups, bool bias) -> std::variant<Array, std::tuple<Array, Array>> {
        const Conv2dOptions o = options(stride, padding, dilation, groups);
        if (!bias) return conv2d_backward_weight(dout, x, size, o, nullptr);
        Array db;
        const Array dw = conv2d_backward_weight(dout, x, size, o, &db);
        return std::tuple(dw, db);
      },
      py::arg("dout"), py::arg("x"), py::arg("weight_size"), py::arg("stride") = 1, py::arg("padding") = 0,
      py::arg("dilation") = 1, py::arg("groups") = 1, py::arg("bias") = false, ReleaseGil(),
      "The gradient of conv2d by its weight, and with bias=True that of the bias too, in one pass.\n\n"
      "dout: (N, K, P, Q), x: (N, C, H, W), weight_size: (K, C/groups, R, S). Options as in conv2d. Returns "
      "dw "
      "(K, C/groups, R, S), or (dw, db) with db (K,).\nValueError where dout does not have the output's "
      "shape.");
  m.def(
      "conv2d_backward_bias",
      [](const ArrayLike& dout) {
        check_value(dout->ndim() == 4, "conv2d_backward_bias: dout must have rank 4, got ", dout->shape());
        return reduce(ReduceOp::sum, dout, {0, 2, 3}, false);
      },
      py::arg("dout"), ReleaseGil(),
      "The gradient of conv2d by its bias: the sum of dout (N, K, P, Q) over all but K.");
}

void bind_relu_max_pool2d(py::module_& m) {
  m.def(
      "conv2d_relu_max_pool2d",
      [](const ArrayLike& x, const ArrayLike& weight, const OptionalArray& bias, Pair kernel, Pair stride,
         const Padding& padding, Pair dilation, std::int64_t groups) {
        Array winner;
        const Array out =
            conv2d_relu_max_pool2d(x, weight, pointer(bias), options(stride, padding, dilation, groups),
                                   kernel.h, kernel.w, &winner);
        return std::pair<Array, Array>(out, winner);
      },
      py::arg("x"), py::arg("weight"), py::arg("bias") = py::none(), py::arg("kernel_size") = 2,
      py::arg("stride") = 1, py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("groups") = 1,
      ReleaseGil(),
      "max_pool2d(relu(conv2d(x, weight, bias)), kernel_size) in one operation.\n\n"
      "Options as in conv2d; kernel_size: the pooling window, which is also its stride. Returns (out, "
      "winner): "
      "out "
      "(N, K, P // height, Q // width), winner uint8 of its shape: the place u * width + v of the first "
      "largest "
      "element in its window, 64 where ReLU left nothing; of NaNs the last.\n"
      "ValueError for a window larger than the convolution's output or of more than 64 elements, and as in "
      "conv2d.");
  m.def(
      "conv2d_relu_max_pool2d_backward",
      [](const ArrayLike& dout, const ArrayLike& winner, const ArrayLike& x, const ArrayLike& weight,
         Pair kernel, Pair stride, const Padding& padding, Pair dilation, std::int64_t groups, bool need_x,
         bool need_weight, bool need_bias) {
        Array dx, dw, db;
        conv2d_relu_max_pool2d_backward(dout, winner, x, weight, options(stride, padding, dilation, groups),
                                        kernel.h, kernel.w, need_x ? &dx : nullptr,
                                        need_weight ? &dw : nullptr, need_bias ? &db : nullptr);
        const auto given = [](const Array& a) {
          return a.defined() ? std::optional<Array>(a) : std::nullopt;
        };
        return std::tuple(given(dx), given(dw), given(db));
      },
      py::arg("dout"), py::arg("winner"), py::arg("x"), py::arg("weight"), py::arg("kernel_size") = 2,
      py::arg("stride") = 1, py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("groups") = 1,
      py::arg("need_x") = true, py::arg("need_weight") = true, py::arg("need_bias") = true, ReleaseGil(),
      "The gradients of conv2d_relu_max_pool2d by x, weight and bias, each None where not asked for.\n\n"
      "dout and winner: of the output's shape. Only the products of gradients that passed ReLU and the "
      "maximum are "
      "made.\nValueError where dout or winner does not have the output's shape.");
}

void bind_precision(py::module_& m) {
  m.def(
      "set_conv_precision",
      [](const std::string& precision) { set_conv_precision(parse_conv_precision(precision.c_str())); },
      py::arg("precision"),
      "Which methods a convolution may use, for the whole process: 'fast' (the default), 'accurate' or "
      "'direct'.\n\n"
      "Each call takes the setting along when it is made; a captured step keeps those that it was captured "
      "with. ValueError for another name. See docs/convolution.md for the bounds of their errors.");
  m.def("conv_precision", [] { return name(conv_precision()); }, "The setting of set_conv_precision.");
}

}  // namespace

void bind_conv2d(py::module_& m) {
  bind_precision(m);
  m.def(
      "conv2d",
      [](const ArrayLike& x, const ArrayLike& weight, const OptionalArray& bias, Pair stride,
         const Padding& padding, Pair dilation, std::int64_t groups, const std::string& activation) {
        return conv2d(x, weight, pointer(bias), options(stride, padding, dilation, groups),
                      parse_activation(activation.c_str()), 1);
      },
      py::arg("x"), py::arg("weight"), py::arg("bias") = py::none(), py::arg("stride") = 1,
      py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("groups") = 1, py::arg("activation") = "none",
      ReleaseGil(),
      "Two-dimensional convolution (cross-correlation).\n\n"
      "out[n,k,p,q] = bias[k] + sum over c, r, s of x[n, c, p stride + r dilation - padding, q ...] "
      "weight[k,c,r,s]\n\n"
      "x: (N, C, H, W) or (C, H, W); weight: (K, C/groups, R, S); bias: (K,); float32 or float64. stride, "
      "dilation: an "
      "int or a pair. padding: an int, (h, w), (top, bottom, left, right), 'same' or 'valid'. Returns (N, K, "
      "P, Q) with "
      "P = floor((H + padding - dilation (R-1) - 1) / stride) + 1.\n"
      "ValueError for shapes that do not fit, a kernel larger than the padded input, stride or dilation "
      "below 1, "
      "negative padding, groups that do not divide; TypeError for other or different dtypes.\n"
      "Source: Dumoulin, Visin, A guide to convolution arithmetic for deep learning, 2016.");
  bind_backward(m);
  bind_relu_max_pool2d(m);
  m.def(
      "conv2d_output_size",
      [](const DimsLike& input, const DimsLike& weight, Pair stride, const Padding& padding, Pair dilation,
         std::int64_t groups) {
        const Conv2dParams p =
            conv2d_params("conv2d", input, weight, options(stride, padding, dilation, groups));
        return Dims{p.N, p.K, p.P, p.Q};
      },
      py::arg("input_size"), py::arg("weight_size"), py::arg("stride") = 1, py::arg("padding") = 0,
      py::arg("dilation") = 1, py::arg("groups") = 1,
      "The shape of conv2d's output, (N, K, P, Q), from the shapes of its input and weight. Errors as in "
      "conv2d.");
}

}  // namespace weft
