#include "ops/optimizer.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "backend.h"
#include "core/array.h"
#include "core/error.h"
#include "core/stream.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/overlap.h"

namespace weft {

namespace {

void check_not_negative(const char* op, const char* what, double value) {
  check_value(value >= 0 && value <= std::numeric_limits<double>::max(), op, ": ", what,
              " must be finite and not negative, got ", value);
}

void check_beta(const char* op, const char* what, double value) {
  check_value(value >= 0 && value < 1, op, ": ", what, " must be from 0 to below 1, got ", value);
}

// An array that the step updates.
void check_target(const char* op, const char* what, const Array& x) {
  check_writable(op, x);
  check_value(x.is_contiguous(), op, ": ", what, " must be contiguous (shape ", x.shape(), ", strides ",
              x.strides(), ")");
}

void check_state_array(const char* op, const Array& param, const char* what, const Array* x) {
  if (!x) return;
  check_same_dtype(op, "param", param, what, *x);
  check_same_shape(op, "param", param, what, *x);
  check_same_device(op, "param", param, what, *x);
  check_target(op, what, *x);
}

void check_scalar(const char* op, const Array& param, const char* what, const Array& x, DType dtype) {
  check_type(x.dtype() == dtype, op, ": ", what, " must be ", name(dtype), ", got ", name(x.dtype()));
  check_value(x.ndim() == 0, op, ": ", what, " must be one value of shape (), got shape ", x.shape());
  check_same_device(op, "param", param, what, x);
}

// The gradient as a kernel reads it.
Array check_step(const char* op, const Array& param, const Array& grad, const Array& lr, const Array* step) {
  check_floating(op, "param", param);
  check_same_dtype(op, "param", param, "grad", grad);
  check_same_shape(op, "param", param, "grad", grad);
  check_same_device(op, "param", param, "grad", grad);
  check_target(op, "param", param);
  if (lr.shape() != Dims{2} || lr.dtype() != DType::float64)
    check_scalar(op, param, "lr", lr, DType::float64);
  check_value(lr.is_contiguous(), op, ": lr must be contiguous (strides ", lr.strides(), ")");
  if (step) {
    check_scalar(op, param, "step", *step, DType::int64);
    check_writable(op, *step);
  }
  return apart(param, contiguous(grad));
}

// The second of two rates, or null.
const double* second_rate(const Array& lr) { return lr.ndim() == 1 ? lr.data<double>() + 1 : nullptr; }

void* raw(const Array* x) { return x ? x->raw() : nullptr; }

// `some`: at most AddSquaresArgs::most arrays of one dtype.
void add_squares(const std::vector<Array>& some, const Array& norm, bool first, bool last) {
  AddSquaresArgs args{
      some.front().dtype(), static_cast<int>(some.size()), {}, norm.data<double>(), first, last};
  const Array* x[AddSquaresArgs::most];
  std::fill(std::begin(x), std::end(x), &norm);
  for (std::size_t i = 0; i < some.size(); ++i) {
    args.parts[i] = {some[i].raw(), some[i].numel()};
    x[i] = &some[i];
  }
  current_stream(norm.device())
      .submit("add_squares", backend(norm.device()).add_squares, args,
              {&norm, x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10], x[11], x[12], x[13],
               x[14], x[15]});
}

// The L2 norm over all of the arrays together, by as few launches as hold them.
Array norm_of(const Array* arrays, int count, Device device) {
  std::vector<Array> left;
  for (int i = 0; i < count; ++i)
    if (arrays[i].numel() > 0) left.push_back(contiguous(arrays[i]));
  if (left.empty()) return full({}, 0, DType::float64, device);
  const Array norm = Array::empty({}, DType::float64, device);
  for (std::size_t begin = 0, end; begin < left.size(); begin = end) {
    for (end = begin + 1; end < left.size() && end - begin < AddSquaresArgs::most; ++end)
      if (left[end].dtype() != left[begin].dtype()) break;
    const auto at = [&](std::size_t i) { return left.begin() + static_cast<std::ptrdiff_t>(i); };
    add_squares(std::vector<Array>(at(begin), at(end)), norm, begin == 0, end == left.size());
  }
  return norm;
}

}  // namespace

void sgd_step(const Array& param, const Array& given, const Array* momentum_buffer, const Array& lr,
              const Array& step, const SgdOptions& o) {
  const char* op = "sgd_step";
  const Array grad = check_step(op, param, given, lr, &step);
  check_state_array(op, param, "momentum_buffer", momentum_buffer);
  check_not_negative(op, "momentum", o.momentum);
  check_not_negative(op, "weight_decay", o.weight_decay);
  check_value(o.momentum == 0 || momentum_buffer, op, ": momentum ", o.momentum, " needs a momentum_buffer");
  check_value(!o.nesterov || (o.momentum > 0 && o.dampening == 0), op,
              ": nesterov needs a momentum above 0 and no dampening, got ", o.momentum, " and ", o.dampening);
  const SgdArgs args{param.dtype(),
                     param.numel(),
                     param.raw(),
                     grad.raw(),
                     o.momentum == 0 ? nullptr : raw(momentum_buffer),
                     lr.data<double>(),
                     step.data<std::int64_t>(),
                     second_rate(lr),
                     o.momentum,
                     o.dampening,
                     o.weight_decay,
                     o.nesterov,
                     o.maximize};
  current_stream(param.device())
      .submit("sgd_step", backend(param.device()).sgd_step, args,
              {&param, &grad, momentum_buffer ? momentum_buffer : &param, &lr, &step});
}

void adagrad_step(const Array& param, const Array& given, const Array& square_sum, const Array& lr,
                  const Array& step, const AdagradOptions& o) {
  const char* op = "adagrad_step";
  const Array grad = check_step(op, param, given, lr, &step);
  check_state_array(op, param, "square_sum", &square_sum);
  check_not_negative(op, "lr_decay", o.lr_decay);
  check_not_negative(op, "weight_decay", o.weight_decay);
  check_not_negative(op, "eps", o.eps);
  const AdagradArgs args{param.dtype(),
                         param.numel(),
                         param.raw(),
                         grad.raw(),
                         square_sum.raw(),
                         lr.data<double>(),
                         step.data<std::int64_t>(),
                         o.lr_decay,
                         o.weight_decay,
                         o.eps,
                         o.maximize};
  current_stream(param.device())
      .submit("adagrad_step", backend(param.device()).adagrad_step, args,
              {&param, &grad, &square_sum, &lr, &step});
}

void rmsprop_step(const Array& param, const Array& given, const Array& square_average,
                  const Array* grad_average, const Array* momentum_buffer, const Array& lr, const Array* step,
                  const RmspropOptions& o) {
  const char* op = "rmsprop_step";
  const Array grad = check_step(op, param, given, lr, step);
  check_state_array(op, param, "square_average", &square_average);
  check_state_array(op, param, "grad_average", grad_average);
  check_state_array(op, param, "momentum_buffer", momentum_buffer);
  check_not_negative(op, "alpha", o.alpha);
  check_not_negative(op, "eps", o.eps);
  check_not_negative(op, "weight_decay", o.weight_decay);
  check_not_negative(op, "momentum", o.momentum);
  check_value(o.momentum == 0 || momentum_buffer, op, ": momentum ", o.momentum, " needs a momentum_buffer");
  const RmspropArgs args{param.dtype(),
                         param.numel(),
                         param.raw(),
                         grad.raw(),
                         square_average.raw(),
                         raw(grad_average),
                         o.momentum == 0 ? nullptr : raw(momentum_buffer),
                         lr.data<double>(),
                         step ? step->data<std::int64_t>() : nullptr,
                         second_rate(lr),
                         o.alpha,
                         o.eps,
                         o.weight_decay,
                         o.momentum,
                         o.maximize};
  current_stream(param.device())
      .submit("rmsprop_step", backend(param.device()).rmsprop_step, args,
              {&param, &grad, &square_average, grad_average ? grad_average : &param,
               momentum_buffer ? momentum_buffer : &param, &lr, step ? step : &lr});
}

void adam_step(const Array& param, const Array& given, const Array& first_moment, const Array& second_moment,
               const Array& lr, const Array& step, const AdamOptions& o) {
  const char* op = "adam_step";
  const Array grad = check_step(op, param, given, lr, &step);
  check_state_array(op, param, "first_moment", &first_moment);
  check_state_array(op, param, "second_moment", &second_moment);
  check_beta(op, "beta1", o.beta1);
  check_beta(op, "beta2", o.beta2);
  check_not_negative(op, "eps", o.eps);
  check_not_negative(op, "weight_decay", o.weight_decay);
  const AdamArgs args{param.dtype(),
                      param.numel(),
                      param.raw(),
                      grad.raw(),
                      first_moment.raw(),
                      second_moment.raw(),
                      lr.data<double>(),
                      step.data<std::int64_t>(),
                      second_rate(lr),
                      o.beta1,
                      o.beta2,
                      o.eps,
                      o.weight_decay,
                      o.decoupled,
                      o.maximize};
  current_stream(param.device())
      .submit("adam_step", backend(param.device()).adam_step, args,
              {&param, &grad, &first_moment, &second_moment, &lr, &step});
}

Array clip_grad_norm(const Array* grads, int count, double max_norm) {
  const char* op = "clip_grad_norm";
  check_value(max_norm >= 0, op, ": max_norm must not be negative, got ", max_norm);
  const Device device = count > 0 ? grads[0].device() : Device{};
  for (int i = 0; i < count; ++i) {
    check_floating(op, "grads", grads[i]);
    check_same_device(op, "the first of grads", grads[0], "another", grads[i]);
    check_writable(op, grads[i]);
  }
  const Array norm = norm_of(grads, count, device);
  if (max_norm > std::numeric_limits<double>::max()) return norm;
  Stream& stream = current_stream(device);
  for (int i = 0; i < count; ++i) {
    if (grads[i].numel() == 0) continue;
    const Array x = contiguous(grads[i]);
    const ClipScaleArgs args{x.dtype(), x.numel(), x.raw(), norm.data<double>(), max_norm};
    stream.submit("clip_scale", backend(device).clip_scale, args, {&x, &norm});
    if (x.raw() != grads[i].raw()) copy_into(grads[i], x);
  }
  return norm;
}

}  // namespace weft
