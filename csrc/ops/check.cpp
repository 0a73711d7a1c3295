#include "ops/check.h"

namespace weft {

void check_floating(const char* op, const char* what, const Array& x) {
  check_type(is_floating(x.dtype()), op, ": ", what, " must be float32 or float64, got ", name(x.dtype()));
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

void check_writable(const char* op, const Array& out) {
  check_value(out.storage()->writable, op, ": the output array is read-only");
}

}  // namespace weft
