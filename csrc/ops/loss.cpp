#include "ops/loss.h"

#include <string_view>

#include "backend.h"
#include "core/error.h"
#include "core/stream.h"
#include "ops/check.h"

namespace weft {

namespace {

#define WEFT_LOSS_NAME(member, name) name,
constexpr const char* loss_names[] = {WEFT_POINTWISE_LOSSES(WEFT_LOSS_NAME)};
#undef WEFT_LOSS_NAME

// Checked operands of a pointwise loss, contiguous.
struct Pointwise {
  Array input, target, weight;
};

Pointwise check_pointwise(PointwiseLoss kind, const Array& input, const Array& target, const Array* weight) {
  const char* op = name(kind);
  check_value(!weight || kind == PointwiseLoss::bce || kind == PointwiseLoss::bce_with_logits, op,
              ": only the binary cross-entropies have a weight (weight ", weight ? weight->shape() : Dims{},
              ")");
  check_floating(op, "input", input);
  check_same_dtype(op, "input", input, "target", target);
  check_same_shape(op, "input", input, "target", target);
  check_same_device(op, "input", input, "target", target);
  Pointwise p{contiguous(input), contiguous(target), {}};
  if (kind == PointwiseLoss::bce) check_fractions(op, "input", p.input);
  if (weight) {
    check_same_dtype(op, "input", input, "weight", *weight);
    check_same_device(op, "input", input, "weight", *weight);
    check_value(broadcast_shapes(op, weight->shape(), input.shape()) == input.shape(), op, ": weight ",
                weight->shape(), " does not broadcast to the input ", input.shape());
    p.weight = contiguous(weight->expand(input.shape()));
  }
  return p;
}

void check_param(PointwiseLoss kind, double param) {
  check_value(kind != PointwiseLoss::huber || param > 0, "huber_loss: delta must be positive, got ", param);
}

// --- cross-entropy ---

// The logits seen as (N, C, inner).
struct Rows {
  explicit Rows(const Array& logits) {
    const Dims& shape = logits.shape();
    check_value(shape.n > 0,
                "cross_entropy: logits must have rank 1 at least, (C), (N, C) or (N, C, d1, ...)");
    if (shape.n == 1) {
      C = shape[0];
    } else {
      N = shape[0];
      C = shape[1];
      rows.push_back(N);
      for (int i = 2; i < shape.n; ++i) {
        inner *= shape[i];
        rows.push_back(shape[i]);
      }
    }
    check_value(C > 0, "cross_entropy: logits ", shape, " have no classes");
  }
  std::int64_t N = 1, C = 1, inner = 1;
  Dims rows;  // the shape of one number for each row
};

[[noreturn]] void fail_class(const CheckValuesArgs& a, std::int64_t position, std::int64_t value, double) {
  throw IndexError(str("cross_entropy: target ", value, " at position ", position,
                       " is not a class: expected 0 to ", a.high - 1, " (logits ", a.array, ")"));
}

// The class indices as contiguous int64. The kernel checks them: each in [0, C) or ignore_index.
Array check_classes(const Array& logits, const Array& given, const Rows& r) {
  check_type(given.dtype() == DType::int64 || given.dtype() == DType::int32 || given.dtype() == DType::uint8,
             "cross_entropy: target must be class indices of an integer dtype, or probabilities of the "
             "logits' shape ",
             logits.shape(), "; got ", name(given.dtype()), " ", given.shape());
  check_value(given.shape() == r.rows, "cross_entropy: logits ", logits.shape(), " expect a target of shape ",
              r.rows, ", got ", given.shape());
  return given.dtype() == DType::int64 ? contiguous(given) : contiguous(cast(given, DType::int64));
}

// Checked operands, contiguous.
struct CrossEntropy {
  CrossEntropy(const Array& given, const Array& given_target, const Array* given_weight,
               const CrossEntropyOptions& o)
      : rows(given) {
    check_floating("cross_entropy", "logits", given);
    check_same_device("cross_entropy", "logits", given, "target", given_target);
    check_value(o.label_smoothing >= 0 && o.label_smoothing <= 1,
                "cross_entropy: label_smoothing must lie in [0, 1], got ", o.label_smoothing);
    logits = contiguous(given);
    by_probability = is_floating(given_target.dtype()) && given_target.shape() == given.shape();
    if (by_probability) {
      check_same_dtype("cross_entropy", "logits", given, "target", given_target);
      target = contiguous(given_target);
    } else {
      target = check_classes(given, given_target, rows);
      check = {.op = "cross_entropy",
               .values = target.raw(),
               .count = target.numel(),
               .low = 0,
               .high = rows.C,
               .ignore = o.ignore_index,
               .has_ignore = true,
               .index = target.shape(),
               .array = given.shape(),
               .fail = &fail_class};
    }
    if (!given_weight) return;
    check_same_dtype("cross_entropy", "logits", given, "weight", *given_weight);
    check_same_device("cross_entropy", "logits", given, "weight", *given_weight);
    check_value(given_weight->shape() == Dims{rows.C}, "cross_entropy: weight must have shape (C,) = (",
                rows.C, ",), got ", given_weight->shape());
    weight = contiguous(*given_weight);
  }
  const std::int64_t* classes() const { return by_probability ? nullptr : target.data<std::int64_t>(); }
  const void* probabilities() const { return by_probability ? target.raw() : nullptr; }
  const void* weights() const { return weight.defined() ? weight.raw() : nullptr; }

  Rows rows;
  Array logits, target, weight;
  CheckValuesArgs check{};
  bool by_probability = false;
};

}  // namespace

const char* name(PointwiseLoss kind) { return loss_names[static_cast<int>(kind)]; }

Reduction parse_reduction(const char* op, const char* text) {
  const std::string_view view = text;
  if (view == "none") return Reduction::none;
  if (view == "mean") return Reduction::mean;
  if (view == "sum") return Reduction::sum;
  throw ValueError(str(op, ": reduction must be 'none', 'mean' or 'sum', got '", text, "'"));
}

Array pointwise_loss(PointwiseLoss kind, const Array& input, const Array& target, const Array* weight,
                     Reduction reduction, double param) {
  const char* op = name(kind);
  check_param(kind, param);
  const Pointwise p = check_pointwise(kind, input, target, weight);
  const Array out = Array::empty(reduction == Reduction::none ? p.input.shape() : Dims{}, p.input.dtype(),
                                 p.input.device());
  const PointwiseLossArgs args{kind,      reduction,     p.input.dtype(), p.input.numel(),
                               out.raw(), p.input.raw(), p.target.raw(),  weight ? p.weight.raw() : nullptr,
                               param};
  current_stream(out.device())
      .submit(op, backend(out.device()).pointwise_loss_forward, args, {&out, &p.input, &p.target, &p.weight});
  return reduction == Reduction::none ? contiguous(out, input.memory_format()) : out;
}

void pointwise_loss_backward(PointwiseLoss kind, const Array& given, const Array& input, const Array& target,
                             const Array* weight, Reduction reduction, double param, Array* dinput,
                             Array* dtarget) {
  const char* op = name(kind);
  check_param(kind, param);
  const Pointwise p = check_pointwise(kind, input, target, weight);
  const Dims expected = reduction == Reduction::none ? p.input.shape() : Dims{};
  check_same_dtype(op, "dout", given, "input", input);
  check_same_device(op, "dout", given, "input", input);
  check_value(given.shape() == expected, op, ": dout must have shape ", expected, ", got ", given.shape());
  const Array dout = contiguous(given);
  if (dinput) *dinput = Array::empty(p.input.shape(), p.input.dtype(), p.input.device());
  if (dtarget) *dtarget = Array::empty(p.input.shape(), p.input.dtype(), p.input.device());
  const PointwiseLossBackwardArgs args{kind,
                                       reduction,
                                       p.input.dtype(),
                                       p.input.numel(),
                                       dinput ? dinput->raw() : nullptr,
                                       dtarget ? dtarget->raw() : nullptr,
                                       dout.raw(),
                                       p.input.raw(),
                                       p.target.raw(),
                                       weight ? p.weight.raw() : nullptr,
                                       param};
  if (p.input.numel() == 0) return;
  current_stream(dout.device())
      .submit(op, backend(dout.device()).pointwise_loss_backward, args,
              {&dout, &p.input, &p.target, &p.weight, dinput ? dinput : &dout, dtarget ? dtarget : &dout});
  if (dinput) *dinput = contiguous(*dinput, input.memory_format());
  if (dtarget) *dtarget = contiguous(*dtarget, target.memory_format());
}

Array cross_entropy(const Array& given, const Array& target, const Array* weight,
                    const CrossEntropyOptions& o, Array* dlogits) {
  const CrossEntropy c(given, target, weight, o);
  const DType dtype = given.dtype();
  const Array out =
      Array::empty(o.reduction == Reduction::none ? c.rows.rows : Dims{}, dtype, given.device());
  if (dlogits) *dlogits = Array::empty(given.shape(), dtype, given.device());
  const CrossEntropyArgs args{o.reduction,
                              dtype,
                              c.rows.N,
                              c.rows.C,
                              c.rows.inner,
                              out.raw(),
                              dlogits ? dlogits->raw() : nullptr,
                              c.logits.raw(),
                              c.classes(),
                              c.check,
                              c.probabilities(),
                              c.weights(),
                              o.ignore_index,
                              o.label_smoothing};
  current_stream(given.device())
      .submit("cross_entropy", backend(given.device()).cross_entropy_forward, args,
              {&out, dlogits ? dlogits : &out, &c.logits, &c.target, &c.weight});
  return out;
}

Array cross_entropy_backward(const Array& given, const Array& dlogits, Reduction reduction, bool in_place) {
  check_floating("cross_entropy", "dlogits", dlogits);
  const Rows r(dlogits);
  const Dims expected = reduction == Reduction::none ? r.rows : Dims{};
  check_same_dtype("cross_entropy", "dout", given, "dlogits", dlogits);
  check_same_device("cross_entropy", "dout", given, "dlogits", dlogits);
  check_value(given.shape() == expected, "cross_entropy: dout must have shape ", expected, ", got ",
              given.shape());
  check_value(dlogits.is_contiguous(), "cross_entropy: dlogits must be contiguous, as the forward made it");
  const Array dout = contiguous(given);
  Array out = in_place ? dlogits : Array::empty(dlogits.shape(), dlogits.dtype(), dlogits.device());
  const CrossEntropyBackwardArgs args{reduction, dlogits.dtype(), r.N,           r.C,
                                      r.inner,   out.raw(),       dlogits.raw(), dout.raw()};
  if (out.numel() > 0)
    current_stream(out.device())
        .submit("cross_entropy_backward", backend(out.device()).cross_entropy_backward, args,
                {&out, &dlogits, &dout});
  return out;
}

}  // namespace weft
