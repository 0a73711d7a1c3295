#include "ops/reduce.h"

#include "backend.h"
#include "core/array.h"
#include "core/error.h"
#include "core/stream.h"
#include "ops/check.h"
#include "ops/elementwise.h"

namespace weft {

namespace {

constexpr const char* names[] = {WEFT_REDUCTIONS(WEFT_ENUM_NAME)};

DType result_dtype(ReduceOp op, DType dtype) {
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::prod: return is_floating(dtype) ? dtype : DType::int64;
    case ReduceOp::argmax:
    case ReduceOp::argmin: return DType::int64;
    case ReduceOp::any:
    case ReduceOp::all: return DType::bool_;
    default: return dtype;
  }
}

// Appends a dimension, joined with the one before where both lie evenly in memory.
void append(int& ndim, std::int64_t* shape, std::int64_t* strides, std::int64_t size, std::int64_t stride) {
  if (size == 1) return;
  if (ndim > 0 && strides[ndim - 1] == size * stride) {
    shape[ndim - 1] *= size;
    strides[ndim - 1] = stride;
    return;
  }
  shape[ndim] = size;
  strides[ndim++] = stride;
}

// A list of dimensions holds at least one.
void complete(int& ndim, std::int64_t* shape, std::int64_t* strides) {
  if (ndim > 0) return;
  ndim = 1;
  shape[0] = 1;
  strides[0] = 0;
}

}  // namespace

const char* name(ReduceOp op) { return names[static_cast<int>(op)]; }

Array reduce(ReduceOp op, const Array& x, const Dims& axes, bool keepdim, double correction) {
  const char* op_name = name(op);
  const bool adds =
      op == ReduceOp::sum || op == ReduceOp::mean || op == ReduceOp::sum_squares || op == ReduceOp::var;
  if (x.dtype() == DType::bfloat16 && !adds) {
    const Array result = reduce(op, cast(x, DType::float32), axes, keepdim, correction);
    return result.dtype() == DType::float32 ? cast(result, DType::bfloat16) : result;
  }
  if (op == ReduceOp::mean || op == ReduceOp::sum_squares || op == ReduceOp::var)
    check_floating_or_bfloat16(op_name, "input", x);
  const bool is_arg = op == ReduceOp::argmax || op == ReduceOp::argmin;
  check_value(!is_arg || axes.n <= 1, op_name, ": expected one axis or none, got ", axes);
  bool reduced[max_rank] = {};
  for (std::int64_t given : axes) {
    const int axis = normalize_axis(op_name, given, x.ndim());
    check_value(!reduced[axis], op_name, ": axis ", axis, " occurs twice in ", axes);
    reduced[axis] = true;
  }
  ReduceArgs args{};
  args.op = op;
  args.dtype = x.dtype();
  args.out_dtype = result_dtype(op, x.dtype());
  args.correction = correction;
  Dims shape;
  std::int64_t terms = 1;
  for (int i = 0; i < x.ndim(); ++i) {
    const std::int64_t size = x.shape()[i], stride = x.strides()[i];
    if (reduced[i] || axes.empty()) {
      append(args.reduced_ndim, args.reduced_shape, args.reduced_strides, size, stride);
      terms *= size;
      if (keepdim) shape.push_back(1);
    } else {
      append(args.kept_ndim, args.kept_shape, args.kept_strides, size, stride);
      shape.push_back(size);
    }
  }
  complete(args.kept_ndim, args.kept_shape, args.kept_strides);
  complete(args.reduced_ndim, args.reduced_shape, args.reduced_strides);
  check_value(terms > 0 || !(is_arg || op == ReduceOp::max || op == ReduceOp::min), op_name,
              ": no elements to choose from along the reduced axes of shape ", x.shape());
  const Array out = Array::empty(shape, args.out_dtype, x.device());
  args.out = out.raw();
  args.x = x.raw();
  if (out.numel() > 0)
    current_stream(x.device()).submit(op_name, backend(x.device()).reduce, args, {&out, &x});
  return out;
}

}  // namespace weft
