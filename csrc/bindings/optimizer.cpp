#include "ops/optimizer.h"

#include "bindings/bindings.h"
#include "core/error.h"

namespace weft {

namespace {

constexpr const char* common_doc =
    "\n\nparam, grad and the state arrays: one shape, float32 or float64; param and the state are updated in "
    "place and must be contiguous. lr: float64, shape (), or (2,) where the second value "
    "is read in place of momentum (beta1). step: int64, shape (): how many steps were made before, "
    "counted up by one; in the formulas step is this one's number, from 1 on. "
    "maximize: goes up the gradient.\nValueError for other shapes and for values out of range; TypeError for "
    "other dtypes.";

void bind_sgd(py::module_& m) {
  m.def(
      "sgd_step",
      [](const Output& param, const ArrayLike& grad, const ArrayLike& lr, const Output& step,
         const OptionalOutput& buffer, double momentum, double dampening, double weight_decay, bool nesterov,
         bool maximize) {
        sgd_step(param, grad, pointer(buffer), lr, step,
                 {momentum, dampening, weight_decay, nesterov, maximize});
      },
      py::arg("param"), py::arg("grad"), py::arg("lr"), py::arg("step"),
      py::arg("momentum_buffer") = py::none(), py::arg("momentum") = 0.0, py::arg("dampening") = 0.0,
      py::arg("weight_decay") = 0.0, py::arg("nesterov") = false, py::arg("maximize") = false, ReleaseGil(),
      (std::string(
           "w -= lr g, with g = grad + weight_decay w. With momentum: b = momentum b + (1 - dampening) "
           "g (b = g in the first step), w -= lr b; nesterov: w -= lr (g + momentum b) (Sutskever et al. "
           "2013).") +
       common_doc)
          .c_str());
}

void bind_adagrad(py::module_& m) {
  m.def(
      "adagrad_step",
      [](const Output& param, const ArrayLike& grad, const Output& square_sum, const ArrayLike& lr,
         const Output& step, double lr_decay, double weight_decay, double eps, bool maximize) {
        adagrad_step(param, grad, square_sum, lr, step, {lr_decay, weight_decay, eps, maximize});
      },
      py::arg("param"), py::arg("grad"), py::arg("square_sum"), py::arg("lr"), py::arg("step"),
      py::arg("lr_decay") = 0.0, py::arg("weight_decay") = 0.0, py::arg("eps") = 1e-10,
      py::arg("maximize") = false, ReleaseGil(),
      (std::string("s += g^2; w -= lr / (1 + (step - 1) lr_decay) g / (sqrt(s) + eps), s = square_sum (Duchi "
                   "et al. 2011).") +
       common_doc)
          .c_str());
}

void bind_rmsprop(py::module_& m) {
  m.def(
      "rmsprop_step",
      [](const Output& param, const ArrayLike& grad, const Output& square_average, const ArrayLike& lr,
         const OptionalOutput& grad_average, const OptionalOutput& buffer, double alpha, double eps,
         double weight_decay, double momentum, bool maximize, const OptionalOutput& step) {
        rmsprop_step(param, grad, square_average, pointer(grad_average), pointer(buffer), lr, pointer(step),
                     {alpha, eps, weight_decay, momentum, maximize});
      },
      py::arg("param"), py::arg("grad"), py::arg("square_average"), py::arg("lr"),
      py::arg("grad_average") = py::none(), py::arg("momentum_buffer") = py::none(), py::arg("alpha") = 0.99,
      py::arg("eps") = 1e-8, py::arg("weight_decay") = 0.0, py::arg("momentum") = 0.0,
      py::arg("maximize") = false, py::arg("step") = py::none(), ReleaseGil(),
      (std::string("s = alpha s + (1 - alpha) g^2; w -= lr g / (sqrt(s) + eps), s = square_average (Hinton's "
                   "lecture 6e, 2012). Given grad_average a, centered: a = alpha a + (1 - alpha) g, sqrt(s - "
                   "a^2). With momentum: b = momentum b + g / (...), w -= lr b.") +
       common_doc)
          .c_str());
}

void bind_adam(py::module_& m) {
  m.def(
      "adam_step",
      [](const Output& param, const ArrayLike& grad, const Output& first, const Output& second,
         const ArrayLike& lr, const Output& step, double beta1, double beta2, double eps, double weight_decay,
         bool decoupled, bool maximize) {
        adam_step(param, grad, first, second, lr, step,
                  {beta1, beta2, eps, weight_decay, decoupled, maximize});
      },
      py::arg("param"), py::arg("grad"), py::arg("first_moment"), py::arg("second_moment"), py::arg("lr"),
      py::arg("step"), py::arg("beta1") = 0.9, py::arg("beta2") = 0.999, py::arg("eps") = 1e-8,
      py::arg("weight_decay") = 0.0, py::arg("decoupled") = false, py::arg("maximize") = false, ReleaseGil(),
      (std::string(
           "m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w -= lr / (1 - beta1^step) m / "
           "(sqrt(v / (1 - beta2^step)) + eps) (Kingma, Ba 2015). decoupled: AdamW, w -= lr "
           "weight_decay w instead of the decay in g (Loshchilov, Hutter 2019).") +
       common_doc)
          .c_str());
}

}  // namespace

void bind_optimizer(py::module_& m) {
  bind_sgd(m);
  bind_adagrad(m);
  bind_rmsprop(m);
  bind_adam(m);
  m.def(
      "clip_grad_norm",
      [](const OutputList& grads, double max_norm) {
        return clip_grad_norm(grads.arrays.data(), static_cast<int>(grads.arrays.size()), max_norm);
      },
      py::arg("grads"), py::arg("max_norm"), ReleaseGil(),
      "The L2 norm of all arrays together, float64 of shape (); each is scaled in place by min(1, max_norm / "
      "(norm + 1e-6)) (Pascanu et al. 2013).\n\ngrads: a sequence, float32 or float64. An infinite max_norm "
      "only measures. A norm of NaN makes all of them NaN.\nValueError for a negative max_norm or a "
      "read-only "
      "array.");
}

}  // namespace weft
