#include "ops/gemm.h"

#include "bindings/bindings.h"
#include "core/error.h"
#include "ops/linear.h"

namespace weft {

void bind_gemm(py::module_& m) {
  m.def(
      "matmul", [](const ArrayLike& a, const ArrayLike& b) { return matmul(a, b); }, py::arg("a"),
      py::arg("b"), ReleaseGil(),
      "Matrix product, as numpy.matmul.\n\n"
      "a: (..., M, K), b: (..., K, N), the leading axes broadcast; returns (..., M, N). A vector counts as a "
      "row on "
      "the left and as a column on the right. float32, float64, or bfloat16 (summed in float32); strided "
      "operands are read where they lie.\n"
      "ValueError where K differs; TypeError for other or different dtypes.");
  m.def(
      "gemm",
      [](const ArrayLike& a, const ArrayLike& b, const OptionalArray& c, double alpha, double beta,
         bool transpose_a, bool transpose_b, const OptionalArray& bias, const std::string& activation,
         std::optional<DTypeLike> out_dtype) {
        return gemm(a, b, pointer(c), alpha, beta, transpose_a, transpose_b, pointer(bias),
                    parse_activation(activation.c_str()),
                    activation == "elu" || activation == "softplus" ? 1.0 : 0.01,
                    out_dtype ? std::optional<DType>(out_dtype->dtype) : std::nullopt);
      },
      py::arg("a"), py::arg("b"), py::arg("c") = py::none(), py::arg("alpha") = 1.0, py::arg("beta") = 1.0,
      py::arg("transpose_a") = false, py::arg("transpose_b") = false, py::arg("bias") = py::none(),
      py::arg("activation") = "none", py::arg("out_dtype") = py::none(), ReleaseGil(),
      "f(alpha op(a) op(b) + beta c + bias), in one pass.\n\n"
      "op(a): (M, K), op(b): (K, N), or (batch, M, K) and (batch, K, N); op transposes the two last axes "
      "where asked. "
      "c: broadcasts to the result. bias: (N,). activation: 'none' or the name of one, with its standard "
      "parameter. "
      "Returns a new (M, N) or (batch, M, N).\n"
      "float32, float64 or bfloat16; bfloat16 is summed in float32 and rounded once, or with "
      "out_dtype='float32' not at all (c then is float32).\n"
      "ValueError for shapes that do not fit; TypeError for other dtypes.");
  m.def(
      "linear",
      [](const ArrayLike& x, const ArrayLike& weight, const OptionalArray& bias,
         const std::string& activation) {
        return linear(x, weight, pointer(bias), parse_activation(activation.c_str()));
      },
      py::arg("x"), py::arg("weight"), py::arg("bias") = py::none(), py::arg("activation") = "none",
      ReleaseGil(),
      "f(x weight^T + bias), the fully connected layer.\n\n"
      "x: (..., in), weight: (out, in), bias: (out,); returns (..., out). activation: 'none', 'relu', "
      "'sigmoid', "
      "'tanh', 'gelu', ...\nValueError for shapes that do not fit; TypeError for other dtypes.");
  m.def(
      "linear_backward",
      [](const ArrayLike& dout, const ArrayLike& x, const ArrayLike& weight, const OptionalArray& y,
         const std::string& activation, bool need_x, bool need_weight, bool need_bias) {
        Array dx, dw, db;
        linear_backward(dout, x, weight, pointer(y), parse_activation(activation.c_str()),
                        need_x ? &dx : nullptr, need_weight ? &dw : nullptr, need_bias ? &db : nullptr);
        const auto given = [](const Array& a) {
          return a.defined() ? std::optional<Array>(a) : std::nullopt;
        };
        return std::tuple(given(dx), given(dw), given(db));
      },
      py::arg("dout"), py::arg("x"), py::arg("weight"), py::arg("y") = py::none(),
      py::arg("activation") = "none", py::arg("need_x") = true, py::arg("need_weight") = true,
      py::arg("need_bias") = true, ReleaseGil(),
      "The gradients of linear by x, weight and bias, each None where not asked for, in one launch.\n\n"
      "dout: (..., out), x: (..., in), weight: (out, in). y: what linear made, (..., out), where its "
      "activation was 'relu', 'sigmoid' or 'tanh'; None for 'none'.\n"
      "ValueError for shapes that do not fit and for other activations; TypeError for other dtypes.");
}

}  // namespace weft
