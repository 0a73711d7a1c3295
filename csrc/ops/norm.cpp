#include <limits>

#include "backend.h"
#include "core/error.h"
#include "core/stream.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/normalize.h"

namespace weft {

namespace {

void check_eps(const char* op, double eps) {
  check_value(eps >= 0 && eps <= std::numeric_limits<double>::max(), op,
              ": eps must be finite and not negative, got ", eps);
}

// (N, C, ...) seen as (N, C, L).
struct Split {
  Split(const char* op, const Array& x) {
    check_floating(op, "input", x);
    check_value(x.ndim() >= 2, op, ": input must have rank 2 at least (N, C, ...), got shape ", x.shape());
    N = x.shape(0);
    C = x.shape(1);
    for (int i = 2; i < x.ndim(); ++i) L *= x.shape(i);
  }
  // As a kernel of batch normalization sees it: with the channels last, N L rows of C values.
  void in_order(MemoryFormat format) {
    if (format == MemoryFormat::contiguous) return;
    N *= L;
    L = 1;
  }
  std::int64_t N, C, L = 1;
};

// An array with one value for each channel, contiguous; null where it was not given.
struct PerChannel {
  PerChannel(const char* op, const char* what, const Array& x, const Array* given) {
    if (!given) return;
    const std::int64_t C = x.shape(1);
    check_same_dtype(op, "input", x, what, *given);
    check_value(given->ndim() == 1 && given->shape(0) == C, op, ": ", what, " expects shape (", C,
                ",), one value for each channel (", what, " ", given->shape(), ", input ", x.shape(), ")");
    check_same_device(op, "input", x, what, *given);
    array = contiguous(*given);
  }
  void* raw() const { return array.defined() ? array.raw() : nullptr; }
  Array array;
};

// A running statistic, updated in place.
void* state_pointer(const char* op, const char* what, const Array& x, const Array* state, bool update) {
  if (!state) return nullptr;
  const PerChannel checked(op, what, x, state);
  check_value(state->is_contiguous(), op, ": ", what, " must be contiguous (shape ", state->shape(),
              ", strides ", state->strides(), ")");
  if (update) check_writable(op, *state);
  return state->raw();
}

void check_like(const char* op, const Array& x, const char* what, const Array* y) {
  if (!y) return;
  check_same_dtype(op, "input", x, what, *y);
  check_same_shape(op, "input", x, what, *y);
  check_same_device(op, "input", x, what, *y);
}

Array contiguous_or_none(const Array* x, MemoryFormat format = MemoryFormat::contiguous) {
  return x ? contiguous(*x, format) : Array();
}
void* raw(const Array& x) { return x.defined() ? x.raw() : nullptr; }

Array empty_like(bool wanted, const Array& like) {
  return wanted ? Array::empty_like(like, like.dtype()) : Array();
}

void check_batch_norm(const char* op, const Array& x, const Split& s, const BatchNormState& state,
                      const BatchNormOptions& o) {
  check_eps(op, o.eps);
  check_value(o.cumulative || (o.momentum >= 0 && o.momentum <= 1), op, ": momentum must lie in [0, 1], got ",
              o.momentum);
  check_value((state.running_mean == nullptr) == (state.running_var == nullptr), op,
              ": running_mean and running_var must be given together");
  check_value(o.training || state.running_mean, op, ": inference needs running_mean and running_var (input ",
              x.shape(), ")");
  check_value(!o.training || s.N * s.L != 1, op,
              ": training needs more than one value for each channel (input ", x.shape(), ")");
  if (const Array* n = state.num_batches_tracked) {
    check_type(n->dtype() == DType::int64, op, ": num_batches_tracked must be int64, got ", name(n->dtype()));
    check_value(n->ndim() == 0, op, ": num_batches_tracked must have shape (), got ", n->shape());
    check_same_device(op, "input", x, "num_batches_tracked", *n);
    if (o.training) check_writable(op, *n);
  }
  check_value(!o.training || !o.cumulative || !state.running_mean || state.num_batches_tracked, op,
              ": without a momentum, running statistics need num_batches_tracked");
}

}  // namespace

Normalized batch_norm(const Array& given, const Array* gamma, const Array* beta, const BatchNormState& state,
                      const Array* residual, const BatchNormOptions& o) {
  const char* op = "batch_norm";
  Split s(op, given);
  const PerChannel weight(op, "weight", given, gamma), bias(op, "bias", given, beta);
  check_batch_norm(op, given, s, state, o);
  check_like(op, given, "residual", residual);
  void* running_mean = state_pointer(op, "running_mean", given, state.running_mean, o.training);
  void* running_var = state_pointer(op, "running_var", given, state.running_var, o.training);
  const MemoryFormat format = given.memory_format();
  const Array x = contiguous(given, format), add = contiguous_or_none(residual, format);
  s.in_order(format);
  const Array out = empty_like(true, x), mean = Array::empty({s.C}, x.dtype(), x.device()),
              inv_std = empty_like(true, mean);
  const Array* counter = state.num_batches_tracked;
  const BatchNormArgs args{.dtype = x.dtype(),
                           .N = s.N,
                           .C = s.C,
                           .L = s.L,
                           .out = out.raw(),
                           .mean = mean.raw(),
                           .inv_std = inv_std.raw(),
                           .x = x.raw(),
                           .gamma = weight.raw(),
                           .beta = bias.raw(),
                           .residual = raw(add),
                           .running_mean = running_mean,
                           .running_var = running_var,
                           .num_batches_tracked = counter ? counter->data<std::int64_t>() : nullptr,
                           .momentum = o.momentum,
                           .eps = o.eps,
                           .cumulative = o.cumulative,
                           .training = o.training,
                           .relu = o.relu};
  const Array none;
  current_stream(x.device())
      .submit(op, backend(x.device()).batch_norm_forward, args,
              {&out, &mean, &inv_std, &x, &weight.array, &bias.array, &add,
               state.running_mean ? state.running_mean : &none, state.running_var ? state.running_var : &none,
               counter ? counter : &none});
  return {out, mean, inv_std};
}

NormGradients batch_norm_backward(const Array& given_dout, const Array& given, const Array& given_mean,
                                  const Array& given_inv_std, const Array* gamma, const Array* beta,
                                  const Array* given_out, bool training, bool relu,
                                  const WantedGradients& wanted) {
  const char* op = "batch_norm_backward";
  Split s(op, given);
  check_like(op, given, "dout", &given_dout);
  check_like(op, given, "out", given_out);
  const PerChannel mean(op, "mean", given, &given_mean), inv_std(op, "inv_std", given, &given_inv_std),
      weight(op, "weight", given, gamma), bias(op, "bias", given, beta);
  const MemoryFormat format = given.memory_format();
  s.in_order(format);
  const Array dout = contiguous(given_dout, format), x = contiguous(given, format),
              out = contiguous_or_none(given_out, format);
  const Array dx = empty_like(wanted.dx, x), dgamma = empty_like(wanted.dgamma, mean.array),
              dbeta = empty_like(wanted.dbeta, mean.array), dresidual = empty_like(wanted.dresidual, x);
  const BatchNormBackwardArgs args{.dtype = x.dtype(),
                                   .N = s.N,
                                   .C = s.C,
                                   .L = s.L,
                                   .dx = raw(dx),
                                   .dgamma = raw(dgamma),
                                   .dbeta = raw(dbeta),
                                   .dresidual = raw(dresidual),
                                   .dout = dout.raw(),
                                   .x = x.raw(),
                                   .mean = mean.raw(),
                                   .inv_std = inv_std.raw(),
                                   .gamma = weight.raw(),
                                   .beta = bias.raw(),
                                   .out = raw(out),
                                   .training = training,
                                   .relu = relu};
  current_stream(x.device())
      .submit(op, backend(x.device()).batch_norm_backward, args,
              {&dx, &dgamma, &dbeta, &dresidual, &dout, &x, &mean.array, &inv_std.array, &weight.array,
               &bias.array, &out});
  return {dx, dgamma, dbeta, dresidual};
}

namespace {

// The shape of a row normalization: layer's or group's.
struct Rows {
  std::int64_t rows, channels, L, groups;
};

Rows layer_rows(const char* op, const Array& x, const Dims& normalized) {
  check_floating(op, "input", x);
  check_value(normalized.n > 0, op, ": normalized_shape must have one axis at least");
  bool fits = normalized.n <= x.ndim();
  for (int i = 0; fits && i < normalized.n; ++i) fits = x.shape(x.ndim() - normalized.n + i) == normalized[i];
  check_value(fits, op, ": the last axes must have the shape ", normalized, " (normalized_shape ", normalized,
              ", input ", x.shape(), ")");
  Rows r{1, product(normalized), 1, 1};
  for (int i = 0; i < x.ndim() - normalized.n; ++i) r.rows *= x.shape(i);
  return r;
}

Rows group_rows(const char* op, const Array& x, std::int64_t groups) {
  const Split s(op, x);
  check_value(groups >= 1 && s.C % groups == 0, op, ": num_groups ", groups, " must divide the ", s.C,
              " channels (input ", x.shape(), ")");
  return {s.N * groups, s.C / groups, s.L, groups};
}

// gamma or beta of a row normalization, contiguous.
Array affine(const char* op, const char* what, const Array& x, const Dims& shape, const Array* given) {
  if (!given) return {};
  check_same_dtype(op, "input", x, what, *given);
  check_value(given->shape() == shape, op, ": ", what, " expects shape ", shape, " (", what, " ",
              given->shape(), ", input ", x.shape(), ")");
  check_same_device(op, "input", x, what, *given);
  return contiguous(*given);
}

Normalized row_norm(const char* op, const Array& given, const Rows& r, const Dims& shape, const Array* gamma,
                    const Array* beta, double eps) {
  check_eps(op, eps);
  const Array weight = affine(op, "weight", given, shape, gamma),
              bias = affine(op, "bias", given, shape, beta), x = contiguous(given);
  const Array out = empty_like(true, x), mean = Array::empty({r.rows}, x.dtype(), x.device()),
              inv_std = empty_like(true, mean);
  const RowNormArgs args{x.dtype(),  r.rows,        r.channels, r.L,         r.groups,  out.raw(),
                         mean.raw(), inv_std.raw(), x.raw(),    raw(weight), raw(bias), eps};
  current_stream(x.device())
      .submit(op, backend(x.device()).row_norm_forward, args, {&out, &mean, &inv_std, &x, &weight, &bias});
  return {contiguous(out, given.memory_format()), mean, inv_std};
}

// A statistic that forward returned.
Array statistic(const char* op, const char* what, const Array& x, const Rows& r, const Array& given) {
  check_same_dtype(op, "input", x, what, given);
  check_value(given.ndim() == 1 && given.shape(0) == r.rows, op, ": ", what, " expects shape (", r.rows,
              ",) (", what, " ", given.shape(), ", input ", x.shape(), ")");
  check_same_device(op, "input", x, what, given);
  return contiguous(given);
}

NormGradients row_norm_backward(const char* op, const Array& given_dout, const Array& given, const Rows& r,
                                const Dims& shape, const Array& given_mean, const Array& given_inv_std,
                                const Array* gamma, const WantedGradients& wanted) {
  check_like(op, given, "dout", &given_dout);
  const Array mean = statistic(op, "mean", given, r, given_mean),
              inv_std = statistic(op, "inv_std", given, r, given_inv_std),
              weight = affine(op, "weight", given, shape, gamma);
  const Array dout = contiguous(given_dout), x = contiguous(given), dx = empty_like(wanted.dx, x);
  const Array dgamma = wanted.dgamma ? Array::empty(shape, x.dtype(), x.device()) : Array();
  const Array dbeta = wanted.dbeta ? Array::empty(shape, x.dtype(), x.device()) : Array();
  const RowNormBackwardArgs args{x.dtype(),  r.rows,        r.channels, r.L,        r.groups,
                                 raw(dx),    raw(dgamma),   raw(dbeta), dout.raw(), x.raw(),
                                 mean.raw(), inv_std.raw(), raw(weight)};
  current_stream(x.device())
      .submit(op, backend(x.device()).row_norm_backward, args,
              {&dx, &dgamma, &dbeta, &dout, &x, &mean, &inv_std, &weight});
  return {wanted.dx ? contiguous(dx, given.memory_format()) : dx, dgamma, dbeta, {}};
}

}  // namespace

Normalized layer_norm(const Array& x, const Dims& normalized, const Array* gamma, const Array* beta,
                      double eps) {
  const char* op = "layer_norm";
  return row_norm(op, x, layer_rows(op, x, normalized), normalized, gamma, beta, eps);
}

NormGradients layer_norm_backward(const Array& dout, const Array& x, const Dims& normalized,
                                  const Array& mean, const Array& inv_std, const Array* gamma,
                                  const WantedGradients& wanted) {
  const char* op = "layer_norm_backward";
  return row_norm_backward(op, dout, x, layer_rows(op, x, normalized), normalized, mean, inv_std, gamma,
                           wanted);
}

Normalized group_norm(const Array& x, std::int64_t groups, const Array* gamma, const Array* beta,
                      double eps) {
  const char* op = "group_norm";
  const Rows r = group_rows(op, x, groups);
  return row_norm(op, x, r, {x.shape(1)}, gamma, beta, eps);
}

NormGradients group_norm_backward(const Array& dout, const Array& x, std::int64_t groups, const Array& mean,
                                  const Array& inv_std, const Array* gamma, const WantedGradients& wanted) {
  const char* op = "group_norm_backward";
  const Rows r = group_rows(op, x, groups);
  return row_norm_backward(op, dout, x, r, {x.shape(1)}, mean, inv_std, gamma, wanted);
}

}  // namespace weft
