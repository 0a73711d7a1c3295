#include "ops/elementwise.h"

#include <algorithm>

#include "backend.h"
#include "core/array.h"
#include "core/stream.h"
#include "ops/check.h"
#include "ops/nest.h"

namespace weft {

namespace {

constexpr const char* unary_names[] = {
    "neg", "abs", "sign", "square", "sqrt", "rsqrt", "reciprocal", "exp",   "expm1",    "log",        "log1p",
    "sin", "cos", "erf",  "floor",  "ceil", "round", "clip",       "isnan", "isfinite", "logical_not"};
constexpr const char* binary_names[] = {
    "add", "sub", "mul", "div", "pow", "floor_divide", "remainder",   "maximum",    "minimum",
    "eq",  "ne",  "lt",  "le",  "gt",  "ge",           "logical_and", "logical_or", "logical_xor"};

bool gives_bool(UnaryOp op) {
  return op == UnaryOp::isnan || op == UnaryOp::isfinite || op == UnaryOp::logical_not;
}
bool needs_floating(UnaryOp op) {
  switch (op) {
    case UnaryOp::neg:
    case UnaryOp::abs:
    case UnaryOp::sign:
    case UnaryOp::square:
    case UnaryOp::clip:
    case UnaryOp::floor:
    case UnaryOp::ceil:
    case UnaryOp::round: return false;
    default: return !gives_bool(op);
  }
}
bool gives_bool(BinaryOp op) { return op >= BinaryOp::eq; }

// The output: `given` after checks, or a new array.
Array output(const char* op, const Array* given, const Dims& shape, DType dtype, Device device) {
  if (!given) return Array::empty(shape, dtype, device);
  check_value(given->shape() == shape, op, ": the result has shape ", shape, " but out has ", given->shape());
  check_type(given->dtype() == dtype, op, ": the result has dtype ", name(dtype), " but out has ",
             name(given->dtype()));
  check_writable(op, *given);
  return *given;
}

// The bytes that an array spans.
std::pair<const char*, const char*> span(const Array& x) {
  std::int64_t low = 0, high = 0;
  for (int i = 0; i < x.ndim(); ++i) {
    const std::int64_t reach = (x.shape()[i] - 1) * x.strides()[i];
    (reach < 0 ? low : high) += reach;
  }
  const auto size = static_cast<std::int64_t>(itemsize(x.dtype()));
  const char* base = static_cast<const char*>(x.raw());
  return {base + low * size, base + (high + 1) * size};
}

// Whether writing `out` could change elements of `x` that are still to be read. The same elements in the same
// order are safe.
bool overlaps(const Array& out, const Array& x) {
  if (out.numel() == 0 || x.numel() == 0 || out.storage() != x.storage()) return false;
  if (out.raw() == x.raw() && out.shape() == x.shape() && out.strides() == x.strides() &&
      out.dtype() == x.dtype())
    return false;
  const auto [a, b] = span(out);
  const auto [c, d] = span(x);
  return a < d && c < b;
}

Array apart(const Array& out, const Array& x) { return overlaps(out, x) ? copy(x) : x; }

template <class Args>
void run(const char* name, void (*kernel)(Stream&, const Args&), const Args& args,
         std::initializer_list<const Array*> arrays) {
  const Array& out = **arrays.begin();
  if (out.numel() > 0) current_stream(out.device()).submit(name, kernel, args, arrays);
}

Array unary_with(UnaryOp op, const Array& given_x, double low, double high, const Array* given) {
  const char* op_name = name(op);
  if (needs_floating(op)) check_floating(op_name, "input", given_x);
  check_type(given_x.dtype() != DType::bool_ || gives_bool(op), op_name,
             ": input must be a number, got bool");
  const Array out = output(op_name, given, given_x.shape(), gives_bool(op) ? DType::bool_ : given_x.dtype(),
                           given_x.device());
  const Array x = apart(out, given_x);
  UnaryArgs args{op, x.dtype(), 0, {}, {}, {}, low, high};
  make_nest<2>({out, x}, {&args.out, &args.x}, args.ndim, args.shape);
  run(op_name, backend(x.device()).unary, args, {&out, &x});
  return out;
}

}  // namespace

const char* name(UnaryOp op) { return unary_names[static_cast<int>(op)]; }
const char* name(BinaryOp op) { return binary_names[static_cast<int>(op)]; }

Array unary(UnaryOp op, const Array& x, const Array* out) { return unary_with(op, x, 0, 0, out); }

Array clip(const Array& x, double low, double high, const Array* out) {
  check_value(!(low > high), "clip: min ", low, " is greater than max ", high);
  return unary_with(UnaryOp::clip, x, low, high, out);
}

Array binary(BinaryOp op, const Array& given_a, const Array& given_b, const Array* given) {
  const char* op_name = name(op);
  check_same_dtype(op_name, "operands", given_a, "other", given_b);
  check_same_device(op_name, "the first operand", given_a, "the second", given_b);
  Array a = given_a, b = given_b;
  const DType dtype = a.dtype();
  if (op == BinaryOp::div && !is_floating(dtype)) {
    a = cast(a, DType::float32);
    b = cast(b, DType::float32);
  }
  check_type(dtype != DType::bool_ || gives_bool(op), op_name, ": operands must be numbers, got bool");
  const Dims shape = broadcast_shapes(op_name, a.shape(), b.shape());
  const Array out = output(op_name, given, shape, gives_bool(op) ? DType::bool_ : a.dtype(), a.device());
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
  const Array out = Array::empty(shape, a.dtype(), a.device());
  const Array c = condition.expand(shape), p = a.expand(shape), q = b.expand(shape);
  WhereArgs args{a.dtype(), 0, {}, {}, {}, {}, {}};
  make_nest<4>({out, c, p, q}, {&args.out, &args.condition, &args.a, &args.b}, args.ndim, args.shape);
  run("where", backend(out.device()).where, args, {&out, &c, &p, &q});
  return out;
}

void fill(const Array& out, double value, std::int64_t integer) {
  check_writable("fill", out);
  FillArgs args{out.dtype(), 0, {}, {}, value, integer};
  make_nest<1>({out}, {&args.out}, args.ndim, args.shape);
  run("fill", backend(out.device()).fill, args, {&out});
}

void copy_into(const Array& out, const Array& given) {
  check_writable("copy", out);
  check_same_device("copy", "the source", given, "the destination", out);
  const Dims shape = broadcast_shapes("copy", out.shape(), given.shape());
  check_value(shape == out.shape(), "copy: shape ", given.shape(), " does not broadcast to ", out.shape());
  const Array x = apart(out, given).expand(shape);
  CopyArgs args{out.dtype(), x.dtype(), 0, {}, {}, {}};
  make_nest<2>({out, x}, {&args.out, &args.x}, args.ndim, args.shape);
  run("copy", backend(out.device()).copy, args, {&out, &x});
}

Array copy(const Array& x) { return cast(x, x.dtype()); }

Array cast(const Array& x, DType dtype) {
  const Array out = Array::empty(x.shape(), dtype, x.device());
  copy_into(out, x);
  return out;
}

Array contiguous(const Array& x) { return x.is_contiguous() ? x : copy(x); }

Array full(const Dims& shape, double value, DType dtype, const Device& device) {
  const Array out = Array::empty(shape, dtype, device);
  fill(out, value, static_cast<std::int64_t>(value));
  return out;
}

Array reshape(const Array& x, const Dims& shape) {
  const Array view = x.try_reshape(shape);
  return view.defined() ? view : copy(x).try_reshape(shape);
}

}  // namespace weft
