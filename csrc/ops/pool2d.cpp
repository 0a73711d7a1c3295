#include "ops/pool2d.h"

#include <limits>

#include "backend.h"
#include "core/array.h"
#include "core/error.h"
#include "core/sizes.h"
#include "core/stream.h"
#include "ops/check.h"
#include "ops/elementwise.h"

namespace weft {

namespace {

constexpr std::int64_t largest = most_of_an_option;

// N, C, H, W of (N,C,H,W) or (C,H,W).
Pool2dParams image_params(const char* op, const Dims& x) {
  check_value(x.n == 3 || x.n == 4, op, ": input must have rank 3 or 4, got shape ", x);
  element_count(op, x);  // it may be a user's own numbers, of no array
  Pool2dParams p{};
  p.N = x.n == 4 ? x[0] : 1;
  p.C = x[x.n - 3];
  p.H = x[x.n - 2];
  p.W = x[x.n - 1];
  check_value(p.N >= 0 && p.C >= 0 && p.H > 0 && p.W > 0, op, ": input ", x,
              " must have a height and a width of at least 1");
  check_value(p.H <= largest && p.W <= largest && p.H * p.W <= largest, op, ": the image of input ", x,
              " has more than ", largest, " elements");
  p.stride_h = p.stride_w = p.dilation_h = p.dilation_w = 1;
  return p;
}

Dims with_image(const Dims& x, std::int64_t height, std::int64_t width) {
  Dims shape = x;
  shape[x.n - 2] = height;
  shape[x.n - 1] = width;
  return shape;
}

// The parameters of images in this order.
Pool2dParams in_order(const Pool2dParams& p, MemoryFormat format) {
  Pool2dParams ordered = p;
  ordered.channels_last = format == MemoryFormat::channels_last;
  return ordered;
}

Dims output_shape(const Dims& x, const Pool2dParams& p) { return with_image(x, p.P, p.Q); }

struct Axis {
  std::int64_t in, kernel, stride, pad, dilation;
};

std::int64_t output_size(const Axis& a, bool ceil_mode) {
  const std::int64_t rest = a.in + 2 * a.pad - a.dilation * (a.kernel - 1) - 1;
  if (!ceil_mode) return rest / a.stride + 1;
  const std::int64_t count = (rest + a.stride - 1) / a.stride + 1;
  return (count - 1) * a.stride >= a.in + a.pad ? count - 1 : count;
}

void check_pair(const char* op, const char* what, std::int64_t h, std::int64_t w, std::int64_t least) {
  check_value(h >= least && w >= least && h <= largest && w <= largest, op, ": ", what, " must be at least ",
              least, " and at most ", largest, ", got (", h, ", ", w, ")");
}

void check_dout(const char* op, const Array& dout, const Dims& input, const Pool2dParams& p) {
  check_floating(op, "dout", dout);
  const Dims expected = output_shape(input, p);
  check_value(dout.shape() == expected, op, ": dout ", dout.shape(), " must have the output's shape ",
              expected, " (input ", input, ")");
}

std::int64_t checked_divisor(const char* op, std::optional<std::int64_t> divisor) {
  check_value(!divisor || *divisor > 0, op, ": divisor_override must be positive, got ", divisor.value_or(0));
  return divisor.value_or(0);
}

void check_norm(const char* op, double norm) {
  check_value(norm > 0 && norm <= std::numeric_limits<double>::max(), op,
              ": norm_type must be positive and finite, got ", norm);
}

}  // namespace

Pool2dParams pool2d_params(const char* op, const Dims& x, const Pool2dOptions& o) {
  Pool2dParams p = image_params(op, x);
  check_pair(op, "kernel_size", o.R, o.S, 1);
  check_pair(op, "stride", o.stride_h, o.stride_w, 1);
  check_pair(op, "padding", o.pad_h, o.pad_w, 0);
  check_pair(op, "dilation", o.dilation_h, o.dilation_w, 1);
  const std::int64_t extent_h = o.dilation_h * (o.R - 1) + 1, extent_w = o.dilation_w * (o.S - 1) + 1;
  check_value(2 * o.pad_h <= extent_h && 2 * o.pad_w <= extent_w, op, ": padding (", o.pad_h, ", ", o.pad_w,
              ") must be at most half of the kernel (", extent_h, ", ", extent_w, ")");
  check_value(extent_h <= p.H + 2 * o.pad_h && extent_w <= p.W + 2 * o.pad_w, op, ": kernel (", extent_h,
              ", ", extent_w, ") is larger than the padded image (", p.H + 2 * o.pad_h, ", ",
              p.W + 2 * o.pad_w, ") (input ", x, ")");
  p.R = o.R;
  p.S = o.S;
  p.stride_h = o.stride_h;
  p.stride_w = o.stride_w;
  p.pad_h = o.pad_h;
  p.pad_w = o.pad_w;
  p.dilation_h = o.dilation_h;
  p.dilation_w = o.dilation_w;
  p.P = output_size({p.H, p.R, p.stride_h, p.pad_h, p.dilation_h}, o.ceil_mode);
  p.Q = output_size({p.W, p.S, p.stride_w, p.pad_w, p.dilation_w}, o.ceil_mode);
  return p;
}

Pool2dParams adaptive_pool2d_params(const char* op, const Dims& x, std::int64_t P, std::int64_t Q) {
  Pool2dParams p = image_params(op, x);
  check_pair(op, "output_size", P, Q, 1);
  p.adaptive = true;
  p.P = P;
  p.Q = Q;
  return p;
}

Array max_pool2d(const char* op, const Array& given, const Pool2dParams& p, bool minimum, Array* index) {
  check_floating(op, "input", given);
  const MemoryFormat format = given.memory_format();
  const Array x = contiguous(given, format);
  const Array out = Array::empty(output_shape(x.shape(), p), x.dtype(), x.device(), format);
  if (index) *index = Array::empty(out.shape(), DType::int32, x.device(), format);
  const MaxPool2dArgs args{in_order(p, format),
                           x.dtype(),
                           out.raw(),
                           index ? index->data<std::int32_t>() : nullptr,
                           x.raw(),
                           minimum};
  if (out.numel() > 0)
    current_stream(x.device())
        .submit("max_pool2d_forward", backend(x.device()).max_pool2d_forward, args,
                {&out, index ? index : &out, &x});
  return out;
}

Array max_pool2d_backward(const Array& given, const Array& given_index, const Dims& input,
                          const Pool2dOptions* windows) {
  const char* op = "max_pool2d_backward";
  Pool2dParams p = windows ? pool2d_params(op, input, *windows) : image_params(op, input);
  check_floating(op, "dout", given);
  check_type(given_index.dtype() == DType::int32, op, ": index must be int32, got ",
             name(given_index.dtype()));
  check_same_shape(op, "dout", given, "index", given_index);
  check_same_device(op, "dout", given, "index", given_index);
  check_value(given.ndim() == input.n && given.shape() == with_image(input, given.shape(-2), given.shape(-1)),
              op, ": dout ", given.shape(), " must have the shape of the input ", input,
              " but for the two last axes");
  if (windows) check_dout(op, given, input, p);
  p.P = given.shape(-2);
  p.Q = given.shape(-1);
  // The index was made in the input's order.
  const MemoryFormat format = given_index.memory_format();
  const Array dout = contiguous(given, format), index = contiguous(given_index, format);
  const Array dx = Array::empty(input, dout.dtype(), dout.device(), format);
  const MaxPool2dBackwardArgs args{in_order(p, format), dout.dtype(), dx.raw(), dout.raw(),
                                   index.data<std::int32_t>()};
  if (dx.numel() > 0)
    current_stream(dx.device())
        .submit("max_pool2d_backward", backend(dx.device()).max_pool2d_backward, args, {&dx, &dout, &index});
  return dx;
}

Array avg_pool2d(const char* op, const Array& given, const Pool2dParams& p, bool count_include_pad,
                 std::optional<std::int64_t> divisor_override) {
  check_floating(op, "input", given);
  const std::int64_t divisor = checked_divisor(op, divisor_override);
  const MemoryFormat format = given.memory_format();
  const Array x = contiguous(given, format);
  const Array out = Array::empty(output_shape(x.shape(), p), x.dtype(), x.device(), format);
  const AvgPool2dArgs args{in_order(p, format), x.dtype(), out.raw(), x.raw(), count_include_pad, divisor};
  if (out.numel() > 0)
    current_stream(x.device())
        .submit("avg_pool2d_forward", backend(x.device()).avg_pool2d_forward, args, {&out, &x});
  return out;
}

Array avg_pool2d_backward(const char* op, const Array& given, const Dims& input, const Pool2dParams& p,
                          bool count_include_pad, std::optional<std::int64_t> divisor_override) {
  check_dout(op, given, input, p);
  const std::int64_t divisor = checked_divisor(op, divisor_override);
  const MemoryFormat format = given.memory_format();
  const Array dout = contiguous(given, format);
  const Array dx = Array::empty(input, dout.dtype(), dout.device(), format);
  const AvgPool2dArgs args{in_order(p, format), dout.dtype(),      dx.raw(),
                           dout.raw(),          count_include_pad, divisor};
  if (dx.numel() > 0)
    current_stream(dx.device())
        .submit("avg_pool2d_backward", backend(dx.device()).avg_pool2d_backward, args, {&dx, &dout});
  return dx;
}

Array lp_pool2d(const Array& given, const Pool2dParams& p, double norm) {
  check_floating("lp_pool2d", "input", given);
  check_norm("lp_pool2d", norm);
  const MemoryFormat format = given.memory_format();
  const Array x = contiguous(given, format);
  const Array out = Array::empty(output_shape(x.shape(), p), x.dtype(), x.device(), format);
  const LpPool2dArgs args{in_order(p, format), x.dtype(), out.raw(), x.raw(), norm};
  if (out.numel() > 0)
    current_stream(x.device())
        .submit("lp_pool2d_forward", backend(x.device()).lp_pool2d_forward, args, {&out, &x});
  return out;
}

Array lp_pool2d_backward(const Array& given_dout, const Array& given_x, const Array& given_out,
                         const Pool2dParams& p, double norm) {
  const char* op = "lp_pool2d_backward";
  check_dout(op, given_dout, given_x.shape(), p);
  check_norm(op, norm);
  check_same_dtype(op, "dout", given_dout, "input", given_x);
  check_same_dtype(op, "dout", given_dout, "out", given_out);
  check_same_shape(op, "dout", given_dout, "out", given_out);
  check_same_device(op, "dout", given_dout, "input", given_x);
  check_same_device(op, "dout", given_dout, "out", given_out);
  const MemoryFormat format = given_x.memory_format();
  const Array dout = contiguous(given_dout, format), x = contiguous(given_x, format),
              out = contiguous(given_out, format);
  const Array dx = Array::empty(x.shape(), x.dtype(), x.device(), format);
  const LpPool2dBackwardArgs args{in_order(p, format), x.dtype(), dx.raw(), dout.raw(), x.raw(),
                                  out.raw(),           norm};
  if (dx.numel() > 0)
    current_stream(x.device())
        .submit("lp_pool2d_backward", backend(x.device()).lp_pool2d_backward, args, {&dx, &dout, &x, &out});
  return dx;
}

}  // namespace weft
