#include "ops/loss.h"

#include "bindings/bindings.h"
#include "core/error.h"

namespace weft {

namespace {

constexpr const char* shapes =
    "\n\ninput, target: one shape, one dtype, float32 or float64. reduction: 'mean', 'sum' (shape ()) or "
    "'none' (the "
    "input's shape).\nValueError for different shapes or another reduction; TypeError for dtypes.";

void bind_plain(py::module_& m, PointwiseLoss kind, const char* formula) {
  m.def(
      name(kind),
      [kind](const ArrayLike& input, const ArrayLike& target, const std::string& reduction) {
        return pointwise_loss(kind, input, target, nullptr, parse_reduction(name(kind), reduction.c_str()),
                              1);
      },
      py::arg("input"), py::arg("target"), py::arg("reduction") = "mean", ReleaseGil(),
      (std::string(formula) + shapes).c_str());
}

void bind_with_param(py::module_& m, PointwiseLoss kind, const char* param, const char* formula) {
  m.def(
      name(kind),
      [kind](const ArrayLike& input, const ArrayLike& target, double value, const std::string& reduction) {
        return pointwise_loss(kind, input, target, nullptr, parse_reduction(name(kind), reduction.c_str()),
                              value);
      },
      py::arg("input"), py::arg("target"), py::arg(param) = 1.0, py::arg("reduction") = "mean", ReleaseGil(),
      (std::string(formula) + shapes).c_str());
}

void bind_with_weight(py::module_& m, PointwiseLoss kind, const char* formula) {
  m.def(
      name(kind),
      [kind](const ArrayLike& input, const ArrayLike& target, const OptionalArray& weight,
             const std::string& reduction) {
        return pointwise_loss(kind, input, target, pointer(weight),
                              parse_reduction(name(kind), reduction.c_str()), 1);
      },
      py::arg("input"), py::arg("target"), py::arg("weight") = py::none(), py::arg("reduction") = "mean",
      ReleaseGil(), (std::string(formula) + " weight: broadcasts to the input." + shapes).c_str());
}

PointwiseLoss parse_kind(const std::string& text) {
  constexpr const char* kinds[] = {"mse", "l1", "huber", "bce", "bce_with_logits", "hinge"};
  for (int i = 0; i < 6; ++i)
    if (text == kinds[i]) return static_cast<PointwiseLoss>(i);
  throw ValueError(
      "pointwise_loss_backward: kind must be mse, l1, huber, bce, bce_with_logits or hinge, got '" + text +
      "'");
}

void bind_cross_entropy(py::module_& m) {
  m.def(
      "cross_entropy",
      [](const ArrayLike& logits, const ArrayLike& target, const OptionalArray& weight,
         std::int64_t ignore_index, const std::string& reduction, double label_smoothing, bool need_grad) {
        std::optional<Array> dlogits;
        if (need_grad) dlogits.emplace();
        const Array loss = cross_entropy(
            logits, target, pointer(weight),
            {parse_reduction("cross_entropy", reduction.c_str()), ignore_index, label_smoothing},
            dlogits ? &*dlogits : nullptr);
        return std::tuple(loss, dlogits);
      },
      py::arg("logits"), py::arg("target"), py::arg("weight") = py::none(), py::arg("ignore_index") = -100,
      py::arg("reduction") = "mean", py::arg("label_smoothing") = 0.0, py::arg("need_grad") = false,
      ReleaseGil(),
      "Cross-entropy from logits: softmax, negative log-likelihood and their gradient in one kernel.\n\n"
      "-sum over c of q_c weight_c log softmax(logits)_c, with q one-hot of the class index or given "
      "probabilities, "
      "smoothed to (1-e) q + e/C. 'mean' divides by the sum of weight[target] over the rows that count "
      "(class indices) "
      "or by the number of rows (probabilities).\n\n"
      "logits: (C), (N, C) or (N, C, d1, ...), float32 or float64. target: integers of shape (), (N) or (N, "
      "d1, ...), "
      "0 <= target < C or ignore_index; or probabilities of the logits' shape and dtype. weight: (C,). "
      "Returns (loss, dlogits): the loss, and with need_grad its gradient by the logits (for 'none': of each "
      "row's loss), else None.\n"
      "IndexError for a target that is no class; TypeError for a float target of another shape; ValueError "
      "for shapes "
      "that do not fit.");
  m.def(
      "cross_entropy_backward",
      [](const ArrayLike& dout, const Array& dlogits, const std::string& reduction, bool in_place) {
        return cross_entropy_backward(dout, dlogits, parse_reduction("cross_entropy", reduction.c_str()),
                                      in_place);
      },
      py::arg("dout"), py::arg("dlogits"), py::arg("reduction") = "mean", py::arg("in_place") = false,
      ReleaseGil(),
      "The gradient by the logits for a gradient dout of the loss: cross_entropy's dlogits times dout, row "
      "by "
      "row for reduction 'none'. in_place: dlogits itself is multiplied and returned, which costs nothing "
      "where dout is 1.");
}

}  // namespace

void bind_loss(py::module_& m) {
  bind_plain(m, PointwiseLoss::mse, "(input - target)^2.");
  bind_plain(m, PointwiseLoss::l1, "|input - target|; the derivative at 0 is 0.");
  bind_with_param(
      m, PointwiseLoss::huber, "delta",
      "d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = input - target (Huber 1964).");
  bind_with_param(m, PointwiseLoss::hinge, "margin", "max(0, margin - target * input), target -1 or 1.");
  bind_with_weight(
      m, PointwiseLoss::bce,
      "-weight (t log x + (1 - t) log(1 - x)) for probabilities x, each logarithm at least -100.");
  bind_with_weight(m, PointwiseLoss::bce_with_logits,
                   "weight (max(x, 0) - x t + log(1 + exp(-|x|))) for logits x.");
  m.def(
      "pointwise_loss_backward",
      [](const std::string& kind, const ArrayLike& dout, const ArrayLike& input, const ArrayLike& target,
         const OptionalArray& weight, const std::string& reduction, double param, bool need_input,
         bool need_target) {
        const PointwiseLoss loss = parse_kind(kind);
        std::optional<Array> dinput, dtarget;
        if (need_input) dinput.emplace();
        if (need_target) dtarget.emplace();
        pointwise_loss_backward(loss, dout, input, target, pointer(weight),
                                parse_reduction(name(loss), reduction.c_str()), param,
                                dinput ? &*dinput : nullptr, dtarget ? &*dtarget : nullptr);
        return std::tuple(dinput, dtarget);
      },
      py::arg("kind"), py::arg("dout"), py::arg("input"), py::arg("target"), py::arg("weight") = py::none(),
      py::arg("reduction") = "mean", py::arg("param") = 1.0, py::arg("need_input") = true,
      py::arg("need_target") = false, ReleaseGil(),
      "The gradients (dinput, dtarget) of a pointwise loss; None for one that is not needed. kind: mse, l1, "
      "huber, bce, "
      "bce_with_logits, hinge; param: delta or margin; dout: the shape of the loss.");
  bind_cross_entropy(m);
}

}  // namespace weft
