#include "ops/elementwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "backend.h"
#include "core/array.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/recording.h"
#include "core/stream.h"
#include "ops/check.h"
#include "ops/formulas.h"
#include "ops/nest.h"
#include "ops/overlap.h"

namespace weft {

namespace {

bool gives_bool(UnaryOp op) { return kind(op) == Kind::predicate; }
bool gives_bool(BinaryOp op) { return kind(op) == Kind::predicate; }

// The output: `given` after checks, or a new array in the order of the first of `operands` that has its
// shape.
Array output(const char* op, const Array* given, const Dims& shape, DType dtype, Device device,
             std::initializer_list<const Array*> operands) {
  if (!given) {
    for (const Array* x : operands)
      if (x->shape() == shape) return Array::empty_like(*x, dtype);
    return Array::empty(shape, dtype, device);
  }
  check_value(given->shape() == shape, op, ": the result has shape ", shape, " but out has ", given->shape());
  check_type(given->dtype() == dtype, op, ": the result has dtype ", name(dtype), " but out has ",
             name(given->dtype()));
  check_state(given->device() == device, op, ": the result is on ", device, " but out is on ",
              given->device());
  check_writable(op, *given);
  return *given;
}

template <class Args>
void run(const char* name, void (*kernel)(Stream&, const Args&), const Args& args,
         std::initializer_list<const Array*> arrays) {
  const Array& out = **arrays.begin();
  if (out.numel() > 0) current_stream(out.device()).submit(name, kernel, args, arrays);
}

// The nearest double that the conversion to an integer dtype takes.
double integer_bound(double bound, DType dtype) {
  switch (dtype) {
    case DType::uint8: return std::clamp(bound, 0.0, 255.0);
    case DType::int32: return std::clamp(bound, -0x1p31, 0x1p31 - 1);
    default: return std::clamp(bound, -0x1p63, 0x1p63 - 1024);  // the last double below 2^63
  }
}

// Whether an integer dtype (bool as 0 and 1) has this value.
bool holds(DType dtype, std::int64_t value) {
  switch (dtype) {
    case DType::bool_: return value == 0 || value == 1;
    case DType::uint8: return value >= 0 && value <= 255;
    case DType::int32:
      return value >= std::numeric_limits<std::int32_t>::min() &&
             value <= std::numeric_limits<std::int32_t>::max();
    default: return true;
  }
}

// A number as an array of rank 0. It goes through the stream: a replay needs the value again. On a device,
// where a kernel for one element takes as long as others, a recording keeps the array instead.
Array number_as(const char* op, const Array& number, DType dtype, Device device) {
  std::optional<Unrecorded> once;
  if (device.kind != Device::Kind::cpu) once.emplace();
  const Array out = Array::empty({}, dtype, device);
  double value = 0;
  std::int64_t integer = 0;
  dispatch_all(number.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    value = static_cast<double>(*number.data<T>());  // a number lies on the host
    if constexpr (std::is_integral_v<T>) integer = static_cast<std::int64_t>(*number.data<T>());
  });
  check_value(is_floating(dtype) || holds(dtype, integer), op, ": ", integer, " does not fit into ",
              name(dtype));
  fill(out, value, integer);
  return out;
}

template <class T>
void check_step(T step) {
  check_value(step != 0, "arange: step must not be zero");
}

Array run_arange(double count, ArangeArgs args, Device device) {
  check_value(count < 0x1p53, "arange: too many elements");
  args.n = count > 0 ? static_cast<std::int64_t>(count) : 0;
  const Array out = Array::empty({args.n}, args.dtype, device);
  args.out = out.raw();
  run("arange", backend(out.device()).arange, args, {&out});
  return out;
}

Array unary_with(UnaryOp op, const Array& given_x, double low, double high, const Array* given) {
  const char* op_name = name(op);
  if (kind(op) == Kind::floating) check_floating_or_bfloat16(op_name, "input", given_x);
  check_type(given_x.dtype() != DType::bool_ || gives_bool(op), op_name,
             ": input must be a number, got bool");
  const Array out = output(op_name, given, given_x.shape(), gives_bool(op) ? DType::bool_ : given_x.dtype(),
                           given_x.device(), {&given_x});
  const Array x = apart(out, given_x);
  UnaryArgs args{op, x.dtype(), 0, {}, {}, {}, low, high};
  make_nest<2>({out, x}, {&args.out, &args.x}, args.ndim, args.shape);
  run(op_name, backend(x.device()).unary, args, {&out, &x});
  return out;
}

}  // namespace

#define WEFT_NAME(name, ...) \
  case Op::name: return #name;
const char* name(UnaryOp op) {
  using Op = UnaryOp;
  switch (op) { WEFT_UNARY(WEFT_NAME) }
  return "unary";
}
const char* name(BinaryOp op) {
  using Op = BinaryOp;
  switch (op) { WEFT_BINARY(WEFT_NAME) }
  return "binary";
}
#undef WEFT_NAME

Array unary(UnaryOp op, const Array& x, const Array* out) { return unary_with(op, x, 0, 0, out); }

Array clip(const Array& x, double low, double high, const Array* out) {
  // Written so that NaN is refused too.
  check_value(low <= high, "clip: min ", low, " must not be greater than max ", high);
  if (!is_floating(x.dtype())) {
    low = integer_bound(std::ceil(low), x.dtype());
    high = integer_bound(std::floor(high), x.dtype());
  }
  return unary_with(UnaryOp::clip, x, low, high, out);
}

// The usual case, without the arithmetic of broadcasting that costs more than a small kernel: two arrays of
// one shape and order, without gaps, into a new array.
Array binary_dense(BinaryOp op, const Array& a, const Array& b) {
  const Array out = Array::empty_like(a, gives_bool(op) ? DType::bool_ : a.dtype());
  const std::int64_t n = out.numel();
  BinaryArgs args{op, a.dtype(), 1, {n}, {out.raw(), {1}}, {a.raw(), {1}}, {b.raw(), {1}}};
  run(name(op), backend(out.device()).binary, args, {&out, &a, &b});
  return out;
}

Array binary(BinaryOp op, const Array& given_a, const Array& given_b, const Array* given) {
  const char* op_name = name(op);
  check_same_dtype(op_name, "the first operand", given_a, "the second", given_b);
  check_same_device(op_name, "the first operand", given_a, "the second", given_b);
  if (!given && is_floating(given_a.dtype()) && given_a.shape() == given_b.shape() &&
      ((given_a.is_contiguous() && given_b.is_contiguous()) ||
       (given_a.strides() == given_b.strides() && given_a.is_dense())))
    return binary_dense(op, given_a, given_b);
  Array a = given_a, b = given_b;
  const DType dtype = a.dtype();
  if (kind(op) == Kind::floating && !is_floating(dtype)) {
    a = cast(a, DType::float32);
    b = cast(b, DType::float32);
  }
  check_type(dtype != DType::bool_ || gives_bool(op), op_name, ": operands must be numbers, got bool");
  const Dims shape = broadcast_shapes(op_name, a.shape(), b.shape());
  const Array out =
      output(op_name, given, shape, gives_bool(op) ? DType::bool_ : a.dtype(), a.device(), {&a, &b});
  a = apart(out, a.expand(shape));
  b = apart(out, b.expand(shape));
  BinaryArgs args{op, a.dtype(), 0, {}, {}, {}, {}};
  make_nest<3>({out, a, b}, {&args.out, &args.a, &args.b}, args.ndim, args.shape);
  run(op_name, backend(out.device()).binary, args, {&out, &a, &b});
  return out;
}

Array where(const Array& condition, const Array& a, const Array& b) {
  check_type(condition.dtype() == DType::bool_, "where: condition must be bool, got ",
             name(condition.dtype()));
  check_same_dtype("where", "the second operand", a, "the third", b);
  check_same_device("where", "the second operand", a, "the third", b);
  check_same_device("where", "condition", condition, "the operands", a);
  const Dims shape =
      broadcast_shapes("where", condition.shape(), broadcast_shapes("where", a.shape(), b.shape()));
  const Array out = output("where", nullptr, shape, a.dtype(), a.device(), {&condition, &a, &b});
  const Array c = condition.expand(shape), p = a.expand(shape), q = b.expand(shape);
  WhereArgs args{a.dtype(), 0, {}, {}, {}, {}, {}};
  make_nest<4>({out, c, p, q}, {&args.out, &args.condition, &args.a, &args.b}, args.ndim, args.shape);
  run("where", backend(out.device()).where, args, {&out, &c, &p, &q});
  return out;
}

void fill(const Array& out, double value, std::int64_t integer) {
  check_writable("fill", out);
  check_value(is_floating(out.dtype()) || out.dtype() == DType::bool_ || holds(out.dtype(), integer),
              "fill: ", integer, " does not fit into ", name(out.dtype()));
  FillArgs args{out.dtype(), 0, {}, {}, value, integer};
  make_nest<1>({out}, {&args.out}, args.ndim, args.shape);
  run("fill", backend(out.device()).fill, args, {&out});
}

namespace {

// To another device: in the dtype and the order of the destination, so that nothing is left to do there where
// it lies without gaps.
void copy_across(const Array& out, const Array& given) {
  const Array x = given.dtype() == out.dtype() ? given : cast(given, out.dtype());
  if (out.is_contiguous() && x.shape() == out.shape()) return transfer("copy", out, contiguous(x));
  copy_into(out, moved(x, out.device()));
}

}  // namespace

void copy_into(const Array& out, const Array& given) {
  check_writable("copy", out);
  const Dims shape = broadcast_shapes("copy", out.shape(), given.shape());
  check_value(shape == out.shape(), "copy: shape ", given.shape(), " does not broadcast to ", out.shape());
  if (given.device() != out.device()) return copy_across(out, given);
  const Array x = apart(out, given).expand(shape);
  CopyArgs args{out.dtype(), x.dtype(), 0, {}, {}, {}};
  make_nest<2>({out, x}, {&args.out, &args.x}, args.ndim, args.shape);
  run("copy", backend(out.device()).copy, args, {&out, &x});
}

Array moved(const Array& x, Device device) {
  if (x.device() == device) return x;
  const Array from = dense(x);  // moved as it lies in memory
  const Array out = Array::constant({from.numel()}, from.dtype(), device);
  transfer("to", out, from.with({from.numel()}, {1}, from.offset()));
  return out.with(from.shape(), from.is_contiguous() ? contiguous_strides(from.shape()) : from.strides(), 0);
}

Array copy(const Array& x) { return cast(x, x.dtype()); }

Array cast(const Array& x, DType dtype) {
  const Array out = Array::empty_like(x, dtype);
  copy_into(out, x);
  return out;
}

Array copy(const Array& x, MemoryFormat format) {
  if (format == MemoryFormat::preserve) return copy(x);
  check_value(format != MemoryFormat::channels_last || x.ndim() == 4,
              "channels_last: an array must have rank 4, got shape ", x.shape());
  const Array out = Array::empty(x.shape(), x.dtype(), x.device(), format);
  copy_into(out, x);
  return out;
}

Array contiguous(const Array& x) { return x.is_contiguous() ? x : copy(x, MemoryFormat::contiguous); }

Array contiguous(const Array& x, MemoryFormat format) {
  check_value(format != MemoryFormat::preserve, "contiguous: memory_format must not be preserve");
  return x.is_contiguous(format) ? x : copy(x, format);
}

Array dense(const Array& x) { return x.is_contiguous() || x.is_dense() ? x : copy(x); }

Array laid_out(const Array& x, const Array& like) {
  if (x.strides() == like.strides() || (x.is_contiguous() && like.is_contiguous())) return x;
  const Array out = Array::empty_like(like, x.dtype());
  copy_into(out, x);
  return out;
}

std::int64_t whole(const char* op, double value, DType dtype) {
  // Written so that NaN is refused too.
  check_value(value >= -0x1p63 && value < 0x1p63, op, ": ", value, " does not fit into ", name(dtype));
  return static_cast<std::int64_t>(value);
}

Array full(const Dims& shape, double value, DType dtype, const Device& device) {
  const Array out = Array::empty(shape, dtype, device);
  fill(out, value, static_cast<std::int64_t>(value));
  return out;
}

Array arange(double start, double stop, double step, DType dtype, Device device) {
  check_step(step);
  check_value(std::isfinite(start) && std::isfinite(stop) && !std::isnan(step),
              "arange: start, stop and step must be finite");
  if (dtype == DType::bfloat16) return cast(arange(start, stop, step, DType::float64, device), dtype);
  if (is_floating(dtype))
    return run_arange(std::ceil((stop - start) / step), {dtype, 0, nullptr, start, step, 0, 0}, device);
  const Array exact = arange(start, stop, step, DType::float64, device);
  return cast(exact, dtype);
}

Array arange(std::int64_t start, std::int64_t stop, std::int64_t step, DType dtype, Device device) {
  check_step(step);
  check_type(dtype != DType::bool_, "arange: dtype must be a number, got bool");
  if (dtype == DType::bfloat16) return cast(arange(start, stop, step, DType::float64, device), dtype);
  // The distance and the step without their signs fit into 64 bits, as they do not with them.
  const bool runs = step > 0 ? start < stop : start > stop;
  const auto from = static_cast<std::uint64_t>(step > 0 ? start : stop),
             to = static_cast<std::uint64_t>(step > 0 ? stop : start),
             size = step > 0 ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
  const std::uint64_t count = runs ? (to - from - 1) / size + 1 : 0;
  return run_arange(static_cast<double>(count),
                    {dtype, 0, nullptr, static_cast<double>(start), static_cast<double>(step), start, step},
                    device);
}

void match_number(const char* op, Array& number, Array& array) {
  DType dtype = array.dtype();
  if (is_floating(number.dtype()) && !is_floating(dtype))
    dtype = DType::float32;
  else if (dtype == DType::bool_ && number.dtype() != DType::bool_)
    dtype = DType::int64;
  if (dtype != array.dtype()) array = cast(array, dtype);
  number = number_as(op, number, dtype, array.device());
}

void match_numbers(Array& a, Array& b) {
  const bool floating = is_floating(a.dtype()) || is_floating(b.dtype());
  const DType dtype = floating ? DType::float32 : DType::int64;
  a = number_as("", a, dtype, default_device());
  b = number_as("", b, dtype, default_device());
}

Array reshape(const Array& x, const Dims& shape) {
  const Array view = x.try_reshape(shape);
  return view.defined() ? view : contiguous(x).try_reshape(shape);
}

}  // namespace weft
