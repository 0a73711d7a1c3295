#include "ops/conv2d_relu_max_pool2d.h"

#include "backend.h"
#include "core/error.h"
#include "core/stream.h"
#include "ops/check.h"

namespace weft {

namespace {

Array batched(const char* op, const char* what, const Array& x) {
  check_value(x.ndim() == 3 || x.ndim() == 4, op, ": ", what,
              " must have rank 4 (N, C, H, W) or 3 (C, H, W), got ", x.shape());
  return contiguous(x.ndim() == 3 ? x.unsqueeze(0) : x);
}

PoolWindow pool_window(const char* op, const Conv2dParams& p, std::int64_t h, std::int64_t w, const Dims& x,
                       const Dims& weight) {
  check_value(h > 0 && w > 0 && h <= 64 && w <= 64 && h * w <= 64, op,
              ": the pooling window must have 1 to 64 elements, got (", h, ", ", w, ")");
  check_value(h <= p.P && w <= p.Q, op, ": the pooling window (", h, ", ", w,
              ") is larger than the convolution's output (", p.P, ", ", p.Q, ") (weight ", weight, ", input ",
              x, ")");
  return {h, w, p.P / h, p.Q / w};
}

Dims out_shape(const Conv2dParams& p, const PoolWindow& pool) { return {p.N, p.K, pool.PP, pool.PQ}; }

}  // namespace

Array conv2d_relu_max_pool2d(const Array& given, const Array& given_weight, const Array* given_bias,
                             const Conv2dOptions& options, std::int64_t pool_h, std::int64_t pool_w,
                             Array* winner) {
  const char* op = "conv2d_relu_max_pool2d";
  check_floating(op, "input", given);
  check_same_dtype(op, "input", given, "weight", given_weight);
  check_same_device(op, "input", given, "weight", given_weight);
  const Array x = batched(op, "input", given), weight = contiguous(given_weight);
  const Conv2dParams p = conv2d_params(op, x.shape(), weight.shape(), options);
  const PoolWindow pool = pool_window(op, p, pool_h, pool_w, x.shape(), weight.shape());
  Array bias;
  if (given_bias) {
    check_same_dtype(op, "input", given, "bias", *given_bias);
    check_same_device(op, "input", given, "bias", *given_bias);
    check_value(given_bias->ndim() == 1 && given_bias->shape(0) == p.K, op, ": bias must have shape (K,) = (",
                p.K, ",), got ", given_bias->shape(), " (weight ", weight.shape(), ")");
    bias = contiguous(*given_bias);
  }
  Array out = Array::empty(out_shape(p, pool), x.dtype(), x.device());
  *winner = Array::empty(out.shape(), DType::uint8, x.device());
  const Conv2dReluMaxPool2dArgs args{p,
                                     pool,
                                     x.dtype(),
                                     out.raw(),
                                     winner->data<std::uint8_t>(),
                                     x.raw(),
                                     weight.raw(),
                                     given_bias ? bias.raw() : nullptr};
  if (out.numel() > 0)
    current_stream(x.device())
        .submit(op, backend(x.device()).conv2d_relu_max_pool2d, args, {&out, winner, &x, &weight, &bias});
  if (given.ndim() == 4) return contiguous(out, given.memory_format());
  *winner = winner->squeeze(0);
  return out.squeeze(0);
}

void conv2d_relu_max_pool2d_backward(const Array& given, const Array& given_winner, const Array& given_x,
                                     const Array& given_weight, const Conv2dOptions& options,
                                     std::int64_t pool_h, std::int64_t pool_w, Array* dx, Array* dw,
                                     Array* db) {
  const char* op = "conv2d_relu_max_pool2d_backward";
  check_floating(op, "dout", given);
  check_same_dtype(op, "dout", given, "input", given_x);
  check_same_dtype(op, "dout", given, "weight", given_weight);
  check_same_device(op, "dout", given, "input", given_x);
  check_same_device(op, "dout", given, "weight", given_weight);
  check_same_device(op, "dout", given, "winner", given_winner);
  check_type(given_winner.dtype() == DType::uint8, op, ": winner must be uint8, got ",
             name(given_winner.dtype()));
  const Array dout = batched(op, "dout", given), winner = batched(op, "winner", given_winner);
  const Array x = batched(op, "input", given_x), weight = contiguous(given_weight);
  const Conv2dParams p = conv2d_params(op, x.shape(), weight.shape(), options);
  const PoolWindow pool = pool_window(op, p, pool_h, pool_w, x.shape(), weight.shape());
  check_value(dout.shape() == out_shape(p, pool), op, ": dout ", dout.shape(),
              " does not have the shape of the output ", out_shape(p, pool));
  check_same_shape(op, "dout", dout, "winner", winner);
  if (dx) *dx = Array::empty(x.shape(), dout.dtype(), dout.device());
  if (dw) *dw = Array::empty(weight.shape(), dout.dtype(), dout.device());
  if (db) *db = Array::empty({p.K}, dout.dtype(), dout.device());
  const auto wanted = [](const Array* a) { return a && a->numel() > 0; };
  const Conv2dReluMaxPool2dBackwardArgs args{p,
                                             pool,
                                             dout.dtype(),
                                             wanted(dx) ? dx->raw() : nullptr,
                                             wanted(dw) ? dw->raw() : nullptr,
                                             wanted(db) ? db->raw() : nullptr,
                                             dout.raw(),
                                             winner.data<std::uint8_t>(),
                                             x.raw(),
                                             weight.raw()};
  if (wanted(dx) || wanted(dw) || wanted(db))
    current_stream(dout.device())
        .submit(op, backend(dout.device()).conv2d_relu_max_pool2d_backward, args,
                {dx ? dx : &dout, dw ? dw : &dout, db ? db : &dout, &dout, &winner, &x, &weight});
  if (dx) *dx = given_x.ndim() == 3 ? dx->squeeze(0) : contiguous(*dx, given_x.memory_format());
}

}  // namespace weft
