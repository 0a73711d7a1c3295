#include "ops/activation.h"

#include "bindings/bindings.h"

namespace weft {

namespace {

void bind_one(py::module_& m, const char* python_name, Activation kind, const char* formula,
              const char* parameter, double standard) {
  const std::string doc =
      std::string(formula) +
      "\n\nx: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype."
      "\nTypeError for another dtype.";
  if (parameter)
    m.def(
        python_name, [kind](const ArrayLike& x, double a) { return activation(kind, x, a); }, py::arg("x"),
        py::arg(parameter) = standard, ReleaseGil(), doc.c_str());
  else
    m.def(
        python_name, [kind](const ArrayLike& x) { return activation(kind, x, 0); }, py::arg("x"),
        ReleaseGil(), doc.c_str());
}

}  // namespace

void bind_activation(py::module_& m) {
  bind_one(m, "step", Activation::step, "1 where x > 0, else 0 (McCulloch, Pitts 1943).", nullptr, 0);
  bind_one(m, "sigmoid", Activation::sigmoid, "1 / (1 + exp(-x)).", nullptr, 0);
  bind_one(m, "tanh", Activation::tanh, "The hyperbolic tangent.", nullptr, 0);
  bind_one(m, "relu", Activation::relu, "max(x, 0) (Nair, Hinton 2010).", nullptr, 0);
  bind_one(m, "leaky_relu", Activation::leaky_relu, "x if x > 0 else negative_slope * x (Maas et al. 2013).",
           "negative_slope", 0.01);
  bind_one(m, "elu", Activation::elu, "x if x > 0 else alpha * (exp(x) - 1) (Clevert et al. 2015).", "alpha",
           1);
  bind_one(m, "softplus", Activation::softplus,
           "log(1 + exp(beta * x)) / beta; x itself where beta * x > 20.", "beta", 1);
  bind_one(m, "gelu", Activation::gelu,
           "x * Phi(x), with the normal distribution Phi by erf (Hendrycks, Gimpel 2016).", nullptr, 0);
  bind_one(m, "gelu_tanh", Activation::gelu_tanh,
           "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))), the approximation of gelu.", nullptr,
           0);
  bind_one(m, "silu", Activation::silu, "x * sigmoid(x) (Elfwing et al. 2017).", nullptr, 0);
  m.def(
      "activation_backward",
      [](const std::string& kind, const ArrayLike& dout, const ArrayLike& saved, double alpha) {
        return activation_backward(parse_activation(kind.c_str()), dout, saved, alpha);
      },
      py::arg("kind"), py::arg("dout"), py::arg("saved"), py::arg("alpha") = 0.0, ReleaseGil(),
      "dout times the derivative of the activation `kind` ('relu', 'gelu_tanh', ...).\n\n"
      "saved: the activation's output for sigmoid, tanh and relu, its input for the others. alpha: the "
      "parameter of "
      "leaky_relu, elu and softplus (beta).");
}

}  // namespace weft
