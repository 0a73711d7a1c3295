#include "ops/conv2d.h"

#include <atomic>
#include <string_view>

#include "backend.h"
#include "core/error.h"
#include "core/sizes.h"
#include "core/stream.h"
#include "ops/check.h"

namespace weft {

namespace {

// Output size along one axis; see the formula in the header.
std::int64_t output_size(const char* op, const char* axis, std::int64_t input, std::int64_t kernel,
                         std::int64_t before, std::int64_t after, std::int64_t stride, std::int64_t dilation,
                         const Dims& x, const Dims& weight) {
  const Size padded = Size(input) + before + after, reach = Size(dilation) * (Size(kernel) - 1) + 1;
  check_value(padded.fits && reach.fits && reach.value <= padded.value, op, ": the kernel reaches over ",
              axis, "=", reach, " but the padded input has only ", padded, " (weight ", weight, ", input ", x,
              ")");
  return (padded.value - reach.value) / stride + 1;
}

void check_pair(const char* op, const char* what, std::int64_t least, std::int64_t h, std::int64_t w) {
  check_value(h >= least && w >= least, op, ": ", what,
              least > 0 ? " must be positive" : " must not be negative", ", got (", h, ", ", w, ")");
  check_value(h <= most_of_an_option && w <= most_of_an_option, op, ": ", what, " must be at most ",
              most_of_an_option, ", got (", h, ", ", w, ")");
}

void check_options(const char* op, const Conv2dOptions& o) {
  check_pair(op, "stride", 1, o.stride_h, o.stride_w);
  check_pair(op, "dilation", 1, o.dilation_h, o.dilation_w);
  check_pair(op, "padding", 0, o.pad_top, o.pad_bottom);
  check_pair(op, "padding", 0, o.pad_left, o.pad_right);
  check_value(o.groups > 0, op, ": groups must be positive, got ", o.groups);
  check_value(!o.same || (o.stride_h == 1 && o.stride_w == 1), op, ": padding 'same' needs stride 1, got (",
              o.stride_h, ", ", o.stride_w, ")");
}

// Padding that keeps the size of one axis.
void pad_same(const char* op, std::int64_t dilation, std::int64_t kernel, const Dims& weight,
              std::int64_t& before, std::int64_t& after) {
  const Size total = Size(dilation) * (Size(kernel) - 1);
  check_value(total.fits, op, ": the kernel reaches over ", total, " elements (weight ", weight,
              ", dilation ", dilation, ")");
  before = total.value / 2;
  after = total.value - before;
}

void check_channels(const char* op, const Dims& x, const Dims& weight, std::int64_t groups) {
  check_value(weight[0] % groups == 0, op, ": groups=", groups, " does not divide K=", weight[0], " (weight ",
              weight, ")");
  check_value(x[1] % groups == 0, op, ": groups=", groups, " does not divide C=", x[1], " (input ", x, ")");
  check_value(x[1] / groups == weight[1], op, ": weight expects C=", Size(weight[1]) * groups, " (weight ",
              weight, groups > 1 ? str(", groups ", groups) : "", ") but input has C=", x[1], " (input ", x,
              ")");
}

Dims out_shape(const Conv2dParams& p) { return {p.N, p.K, p.P, p.Q}; }

// The order of the images: channels last where one of the two operands is so.
MemoryFormat format_of(const Array& a, const Array& b) {
  return a.memory_format() == MemoryFormat::contiguous ? b.memory_format() : MemoryFormat::channels_last;
}

// x with a batch axis in front, in the order of the images.
Array batched(const char* op, const char* what, const Array& x, MemoryFormat format) {
  check_value(x.ndim() == 3 || x.ndim() == 4, op, ": ", what,
              " must have rank 4 (N, C, H, W) or 3 (C, H, W), got ", x.shape());
  return contiguous(x.ndim() == 3 ? x.unsqueeze(0) : x, format);
}

Dims batched_size(const char* op, const Dims& size) {
  check_value(size.n == 3 || size.n == 4, op, ": input_size must have 4 entries (N, C, H, W) or 3, got ",
              size);
  Dims full = size;
  if (full.n == 3) full.insert(0, 1);
  return full;
}

void check_dout(const char* op, const Array& dout, const Conv2dParams& p) {
  check_value(dout.shape() == out_shape(p), op, ": dout ", dout.shape(),
              " does not have the shape of the output ", out_shape(p));
}

std::atomic<ConvPrecision> precision_in_use{ConvPrecision::fast};
constexpr const char* precision_names[] = {WEFT_CONV_PRECISIONS(WEFT_ENUM_NAME)};

}  // namespace

ConvPrecision conv_precision() { return precision_in_use.load(std::memory_order_relaxed); }
void set_conv_precision(ConvPrecision precision) { precision_in_use = precision; }
const char* name(ConvPrecision precision) { return precision_names[static_cast<int>(precision)]; }

ConvPrecision parse_conv_precision(const char* text) {
  for (int i = 0; i < static_cast<int>(std::size(precision_names)); ++i)
    if (std::string_view(precision_names[i]) == text) return static_cast<ConvPrecision>(i);
  throw ValueError(str("set_conv_precision: expected fast, accurate or direct, got '", text, "'"));
}

Conv2dParams conv2d_params(const char* op, const Dims& x, const Dims& weight, const Conv2dOptions& given) {
  Conv2dOptions o = given;
  check_value(weight.n == 4, op, ": weight must have rank 4 (K, C/groups, R, S), got ", weight);
  check_value(x.n == 4, op, ": input must have rank 4 (N, C, H, W) or 3 (C, H, W), got ", x);
  check_options(op, o);
  // They may be a user's own numbers, of no array.
  element_count(op, x);
  element_count(op, weight);
  check_channels(op, x, weight, o.groups);
  check_value(weight[2] > 0 && weight[3] > 0, op, ": the kernel is empty (weight ", weight, ")");
  if (o.same) {
    pad_same(op, o.dilation_h, weight[2], weight, o.pad_top, o.pad_bottom);
    pad_same(op, o.dilation_w, weight[3], weight, o.pad_left, o.pad_right);
  }
  Conv2dParams p{};
  p.N = x[0];
  p.C = x[1];
  p.H = x[2];
  p.W = x[3];
  p.K = weight[0];
  p.R = weight[2];
  p.S = weight[3];
  p.stride_h = o.stride_h;
  p.stride_w = o.stride_w;
  p.pad_top = o.pad_top;
  p.pad_bottom = o.pad_bottom;
  p.pad_left = o.pad_left;
  p.pad_right = o.pad_right;
  p.dilation_h = o.dilation_h;
  p.dilation_w = o.dilation_w;
  p.groups = o.groups;
  p.precision = conv_precision();
  p.P = output_size(op, "H", p.H, p.R, p.pad_top, p.pad_bottom, p.stride_h, p.dilation_h, x, weight);
  p.Q = output_size(op, "W", p.W, p.S, p.pad_left, p.pad_right, p.stride_w, p.dilation_w, x, weight);
  check_work(op, {p.N, p.K, p.P, p.Q, p.C / p.groups, p.R, p.S});
  return p;
}

Array conv2d(const Array& given, const Array& given_weight, const Array* given_bias,
             const Conv2dOptions& options, Activation activation, double activation_alpha) {
  check_floating("conv2d", "input", given);
  check_same_dtype("conv2d", "input", given, "weight", given_weight);
  check_same_device("conv2d", "input", given, "weight", given_weight);
  const MemoryFormat format = format_of(given, given_weight);
  const Array x = batched("conv2d", "input", given, format), weight = contiguous(given_weight);
  Conv2dParams p = conv2d_params("conv2d", x.shape(), weight.shape(), options);
  p.channels_last = format == MemoryFormat::channels_last;
  Array bias;
  if (given_bias) {
    check_same_dtype("conv2d", "input", given, "bias", *given_bias);
    check_same_device("conv2d", "input", given, "bias", *given_bias);
    check_value(given_bias->ndim() == 1 && given_bias->shape(0) == p.K,
                "conv2d: bias must have shape (K,) = (", p.K, ",), got ", given_bias->shape(), " (weight ",
                weight.shape(), ")");
    bias = contiguous(*given_bias);
  }
  const Array out = Array::empty(out_shape(p), x.dtype(), x.device(), format);
  const Conv2dForwardArgs args{p,          x.dtype(),       out.raw(),
                               x.raw(),    weight.raw(),    given_bias ? bias.raw() : nullptr,
                               activation, activation_alpha};
  if (out.numel() > 0)
    current_stream(x.device())
        .submit("conv2d_forward", backend(x.device()).conv2d_forward, args, {&out, &x, &weight, &bias});
  return given.ndim() == 3 ? out.squeeze(0) : out;
}

Array conv2d_backward_input(const Array& given, const Array& given_weight, const Dims& input_size,
                            const Conv2dOptions& options) {
  const char* op = "conv2d_backward_input";
  check_floating(op, "dout", given);
  check_same_dtype(op, "dout", given, "weight", given_weight);
  check_same_device(op, "dout", given, "weight", given_weight);
  const MemoryFormat format = format_of(given, given_weight);
  const Array dout = batched(op, "dout", given, format), weight = contiguous(given_weight);
  Conv2dParams p = conv2d_params(op, batched_size(op, input_size), weight.shape(), options);
  p.channels_last = format == MemoryFormat::channels_last;
  check_dout(op, dout, p);
  const Array dx = Array::empty({p.N, p.C, p.H, p.W}, dout.dtype(), dout.device(), format);
  const Conv2dBackwardInputArgs args{p, dout.dtype(), dx.raw(), dout.raw(), weight.raw()};
  if (dx.numel() > 0)
    current_stream(dout.device())
        .submit("conv2d_backward_input", backend(dout.device()).conv2d_backward_input, args,
                {&dx, &dout, &weight});
  return input_size.n == 3 ? dx.squeeze(0) : dx;
}

Array conv2d_backward_weight(const Array& given, const Array& given_x, const Dims& weight_size,
                             const Conv2dOptions& options, Array* db) {
  const char* op = "conv2d_backward_weight";
  check_floating(op, "dout", given);
  check_same_dtype(op, "dout", given, "input", given_x);
  check_same_device(op, "dout", given, "input", given_x);
  const MemoryFormat format = format_of(given, given_x);
  const Array dout = batched(op, "dout", given, format), x = batched(op, "input", given_x, format);
  Conv2dParams p = conv2d_params(op, x.shape(), weight_size, options);
  p.channels_last = format == MemoryFormat::channels_last;
  check_dout(op, dout, p);
  const Array dw = Array::empty(weight_size, dout.dtype(), dout.device());
  if (db) *db = Array::empty({p.K}, dout.dtype(), dout.device());
  const Conv2dBackwardWeightArgs args{p,          dout.dtype(), dw.raw(), db ? db->raw() : nullptr,
                                      dout.raw(), x.raw()};
  if (dw.numel() > 0 || (db && db->numel() > 0))
    current_stream(dout.device())
        .submit("conv2d_backward_weight", backend(dout.device()).conv2d_backward_weight, args,
                {&dw, db ? db : &dw, &dout, &x});
  return dw;
}

}  // namespace weft
