#include "ops/check.h"

#include <cstdlib>

#include "backend.h"
#include "core/error.h"
#include "core/stream.h"

namespace weft {

namespace {

[[noreturn]] void fail_fraction(const CheckValuesArgs& a, std::int64_t position, std::int64_t, double real) {
  throw ValueError(str(a.op, ": ", a.what, " must lie in [0, 1], got ", real, " at position ", position,
                       " (shape ", a.array, ")"));
}

[[noreturn]] void fail_index(const CheckValuesArgs& a, std::int64_t, std::int64_t value, double) {
  throw IndexError(str(a.op, ": index ", value, " is out of range for size ", a.high, " (index ", a.index,
                       ", array ", a.array, ")"));
}

}  // namespace

void check_floating(const char* op, const char* what, const Array& x) {
  check_type(x.dtype() == DType::float32 || x.dtype() == DType::float64, op, ": ", what,
             " must be float32 or float64, got ", name(x.dtype()));
}

void check_floating_or_bfloat16(const char* op, const char* what, const Array& x) {
  check_type(is_floating(x.dtype()), op, ": ", what, " must be float32, float64 or bfloat16, got ",
             name(x.dtype()));
}

void refuse_bfloat16(const char* op, const char* what, const Array& x) {
  check_type(x.dtype() != DType::bfloat16, op, ": ", what,
             " must not be bfloat16; convert it to float32 first");
}

void check_same_dtype(const char* op, const char* what_a, const Array& a, const char* what_b,
                      const Array& b) {
  check_type(a.dtype() == b.dtype(), op, ": ", what_a, " and ", what_b, " must have the same dtype, got ",
             name(a.dtype()), " and ", name(b.dtype()));
}

void check_same_shape(const char* op, const char* what_a, const Array& a, const char* what_b,
                      const Array& b) {
  check_value(a.shape() == b.shape(), op, ": ", what_a, " ", a.shape(), " and ", what_b, " ", b.shape(),
              " must have the same shape");
}

void check_same_device(const char* op, const char* what_a, const Array& a, const char* what_b,
                       const Array& b) {
  check_state(a.device() == b.device(), op, ": ", what_a, " is on ", a.device(), " but ", what_b, " is on ",
              b.device());
}

void check_rank(const char* op, const char* what, const Array& x, int rank) {
  check_value(x.ndim() == rank, op, ": ", what, " must have rank ", rank, ", got shape ", x.shape());
}

namespace {

// Whether no two elements share memory, as far as strides tell it: each one, from the smallest on, steps over
// all that lies within. Strides that interleave are taken for shared.
bool lies_apart(const Array& x) {
  if (x.numel() == 0) return true;
  std::int64_t reach = 0;  // from the first to the last element of what lies within
  for (std::int64_t axis64 : x.axes_by_stride()) {
    const int axis = static_cast<int>(axis64);
    const std::int64_t stride = std::abs(x.strides()[axis]);
    if (stride <= reach) return false;
    reach += stride * (x.shape()[axis] - 1);
  }
  return true;
}

}  // namespace

void check_writable(const char* op, const Array& out) {
  check_value(out.storage()->writable, op, ": the output array is read-only (shape ", out.shape(), ")");
  if (out.is_contiguous()) return;
  check_value(lies_apart(out), op, ": several elements of the output may lie in one place (shape ",
              out.shape(), ", strides ", out.strides(), "); copy it first");
}

void check_values(const CheckValuesArgs& args, const Array& values) {
  if (args.count == 0) return;
  current_stream(values.device())
      .submit("check_values", backend(values.device()).check_values, args, {&values});
}

void check_fractions(const char* op, const char* what, const Array& x) {
  check_values({.op = op,
                .what = what,
                .rule = ElementRule::fraction,
                .values = x.raw(),
                .dtype = x.dtype(),
                .count = x.numel(),
                .array = x.shape(),
                .fail = &fail_fraction},
               x);
}

void check_index(const char* op, const Array& index, std::int64_t low, std::int64_t n, const Dims& array) {
  check_values({.op = op,
                .values = index.raw(),
                .count = index.numel(),
                .low = low,
                .high = n,
                .index = index.shape(),
                .array = array,
                .fail = &fail_index},
               index);
}

}  // namespace weft
