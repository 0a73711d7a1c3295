#include "bindings/bindings.h"
#include "core/error.h"
#include "ops/normalize.h"

namespace weft {

namespace {

using Three = std::tuple<Array, Array, Array>;
using MaybeArray = std::optional<Array>;

MaybeArray maybe(const Array& x) { return x.defined() ? MaybeArray(x) : std::nullopt; }
Three three(const Normalized& n) { return {n.out, n.mean, n.inv_std}; }
std::tuple<MaybeArray, MaybeArray, MaybeArray> three(const NormGradients& g) {
  return {maybe(g.dx), maybe(g.dgamma), maybe(g.dbeta)};
}

void bind_batch_norm(py::module_& m) {
  m.def(
      "batch_norm",
      [](const ArrayLike& x, const OptionalArray& weight, const OptionalArray& bias,
         const OptionalOutput& running_mean, const OptionalOutput& running_var, const OptionalOutput& counter,
         const OptionalArray& residual, bool training, std::optional<double> momentum, double eps,
         bool relu) {
        return three(batch_norm(x, pointer(weight), pointer(bias),
                                {pointer(running_mean), pointer(running_var), pointer(counter)},
                                pointer(residual), {training, !momentum, relu, momentum.value_or(0), eps}));
      },
      py::arg("x"), py::arg("weight") = py::none(), py::arg("bias") = py::none(),
      py::arg("running_mean") = py::none(), py::arg("running_var") = py::none(),
      py::arg("num_batches_tracked") = py::none(), py::arg("residual") = py::none(),
      py::arg("training") = false, py::arg("momentum") = 0.1, py::arg("eps") = 1e-5, py::arg("relu") = false,
      ReleaseGil(),
      "(x - mean) / sqrt(var + eps) weight + bias for each channel (Ioffe, Szegedy 2015), then + residual, "
      "then "
      "ReLU where asked for. Returns (out, mean, 1 / sqrt(var + eps)).\n\n"
      "x: (N, C, ...), float32 or float64; residual has its shape, weight, bias and the running statistics "
      "(C,). In training mean and variance are those of x over all axes but C, and the running ones are "
      "updated in place with momentum (None: the mean of all so far) and the unbiased variance, "
      "num_batches_tracked (int64, shape ()) by 1; else the running ones are used.\nValueError for shapes "
      "that do not fit, for one value a channel in training, and for options out of range; TypeError for "
      "dtypes.");
  m.def(
      "batch_norm_backward",
      [](const ArrayLike& dout, const ArrayLike& x, const ArrayLike& mean, const ArrayLike& inv_std,
         const OptionalArray& weight, const OptionalArray& bias, const OptionalArray& out, bool training,
         bool relu, bool need_x, bool need_weight, bool need_bias, bool need_residual) {
        const NormGradients g =
            batch_norm_backward(dout, x, mean, inv_std, pointer(weight), pointer(bias), pointer(out),
                                training, relu, {need_x, need_weight, need_bias, need_residual});
        return std::tuple{maybe(g.dx), maybe(g.dgamma), maybe(g.dbeta), maybe(g.dresidual)};
      },
      py::arg("dout"), py::arg("x"), py::arg("mean"), py::arg("inv_std"), py::arg("weight") = py::none(),
      py::arg("bias") = py::none(), py::arg("out") = py::none(), py::arg("training") = true,
      py::arg("relu") = false, py::arg("need_x") = true, py::arg("need_weight") = true,
      py::arg("need_bias") = true, py::arg("need_residual") = false, ReleaseGil(),
      "The gradients (dx, dweight, dbias, dresidual) of batch_norm, None where not asked for.\n\n"
      "mean, inv_std: as batch_norm returned them; out: its output, needed where relu followed a residual.");
}

}  // namespace

void bind_norm(py::module_& m) {
  bind_batch_norm(m);
  m.def(
      "layer_norm",
      [](const ArrayLike& x, const DimsLike& shape, const OptionalArray& weight, const OptionalArray& bias,
         double eps) { return three(layer_norm(x, shape, pointer(weight), pointer(bias), eps)); },
      py::arg("x"), py::arg("normalized_shape"), py::arg("weight") = py::none(), py::arg("bias") = py::none(),
      py::arg("eps") = 1e-5, ReleaseGil(),
      "(x - mean) / sqrt(var + eps) weight + bias over the last axes (Ba, Kiros, Hinton 2016). Returns (out, "
      "mean, 1 / sqrt(var + eps)), the last two with one value a row.\n\n"
      "x: float32 or float64, its last axes of shape normalized_shape, which weight and bias have "
      "too.\nValueError for shapes that do not fit; TypeError for dtypes.");
  m.def(
      "layer_norm_backward",
      [](const ArrayLike& dout, const ArrayLike& x, const DimsLike& shape, const ArrayLike& mean,
         const ArrayLike& inv_std, const OptionalArray& weight, bool need_x, bool need_weight,
         bool need_bias) {
        return three(layer_norm_backward(dout, x, shape, mean, inv_std, pointer(weight),
                                         {need_x, need_weight, need_bias}));
      },
      py::arg("dout"), py::arg("x"), py::arg("normalized_shape"), py::arg("mean"), py::arg("inv_std"),
      py::arg("weight") = py::none(), py::arg("need_x") = true, py::arg("need_weight") = true,
      py::arg("need_bias") = true, ReleaseGil(),
      "The gradients (dx, dweight, dbias) of layer_norm, None where not asked for.");
  m.def(
      "group_norm",
      [](const ArrayLike& x, std::int64_t groups, const OptionalArray& weight, const OptionalArray& bias,
         double eps) { return three(group_norm(x, groups, pointer(weight), pointer(bias), eps)); },
      py::arg("x"), py::arg("num_groups"), py::arg("weight") = py::none(), py::arg("bias") = py::none(),
      py::arg("eps") = 1e-5, ReleaseGil(),
      "(x - mean) / sqrt(var + eps) weight + bias, mean and variance over the channels of each group and all "
      "their places (Wu, He 2018). Returns (out, mean, 1 / sqrt(var + eps)), the last two of shape "
      "(N * num_groups,).\n\nx: (N, C, ...), float32 or float64; weight and bias: (C,).\nValueError where "
      "num_groups does not divide C and for other shapes; TypeError for dtypes.");
  m.def(
      "group_norm_backward",
      [](const ArrayLike& dout, const ArrayLike& x, std::int64_t groups, const ArrayLike& mean,
         const ArrayLike& inv_std, const OptionalArray& weight, bool need_x, bool need_weight,
         bool need_bias) {
        return three(group_norm_backward(dout, x, groups, mean, inv_std, pointer(weight),
                                         {need_x, need_weight, need_bias}));
      },
      py::arg("dout"), py::arg("x"), py::arg("num_groups"), py::arg("mean"), py::arg("inv_std"),
      py::arg("weight") = py::none(), py::arg("need_x") = true, py::arg("need_weight") = true,
      py::arg("need_bias") = true, ReleaseGil(),
      "The gradients (dx, dweight, dbias) of group_norm, None where not asked for.");
}

}  // namespace weft
