#include "ops/softmax.h"

#include "backend.h"
#include "core/error.h"
#include "core/stream.h"
#include "ops/check.h"

namespace weft {

namespace {

// The array seen as (outer, n, inner) with the axis in the middle.
struct Split {
  Split(const char* op, const Dims& shape, std::int64_t axis) {
    check_value(shape.n > 0, op, ": input must have rank 1 at least");
    const int at = normalize_axis(op, axis, shape.n);
    for (int i = 0; i < at; ++i) outer *= shape[i];
    n = shape[at];
    for (int i = at + 1; i < shape.n; ++i) inner *= shape[i];
  }
  std::int64_t outer = 1, n = 1, inner = 1;
};

}  // namespace

Array softmax(const Array& given, std::int64_t axis, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  check_floating(op, "input", given);
  const Split s(op, given.shape(), axis);
  const Array x = contiguous(given), out = Array::empty(x.shape(), x.dtype(), x.device());
  const SoftmaxArgs args{x.dtype(), log, s.outer, s.n, s.inner, out.raw(), x.raw()};
  if (out.numel() > 0)
    current_stream(x.device()).submit(op, backend(x.device()).softmax_forward, args, {&out, &x});
  return contiguous(out, given.memory_format());
}

Array softmax_backward(const Array& given_dout, const Array& given_out, std::int64_t axis, bool log) {
  const char* op = log ? "log_softmax_backward" : "softmax_backward";
  check_floating(op, "dout", given_dout);
  check_same_dtype(op, "dout", given_dout, "out", given_out);
  check_same_shape(op, "dout", given_dout, "out", given_out);
  check_same_device(op, "dout", given_dout, "out", given_out);
  const Split s(op, given_out.shape(), axis);
  const Array dout = contiguous(given_dout), out = contiguous(given_out);
  const Array dx = Array::empty(out.shape(), out.dtype(), out.device());
  const SoftmaxBackwardArgs args{out.dtype(), log, s.outer, s.n, s.inner, dx.raw(), dout.raw(), out.raw()};
  if (dx.numel() > 0)
    current_stream(out.device()).submit(op, backend(out.device()).softmax_backward, args, {&dx, &dout, &out});
  return contiguous(dx, given_out.memory_format());
}

}  // namespace weft
