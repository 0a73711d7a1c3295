// Softmax and log-softmax along one axis.
//
//   softmax      y_i = exp(x_i - m) / sum_j exp(x_j - m)      dx_i = y_i (dy_i - sum_j dy_j y_j)
//   log_softmax  y_i = x_i - m - log sum_j exp(x_j - m)       dx_i = dy_i - exp(y_i) sum_j dy_j
//
// where m = max_j x_j.
//
// Contiguous, seen as (outer, n, inner) with the axis in the middle; float32 or float64. A row that holds NaN
// or +inf, or only -inf, gives NaN.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace weft {

class Array;

struct SoftmaxArgs {
  DType dtype;
  bool log;
  std::int64_t outer, n, inner;
  void* out;
  const void* x;
};
struct SoftmaxBackwardArgs {
  DType dtype;
  bool log;
  std::int64_t outer, n, inner;
  void* dx;
  const void* dout;
  const void* out;
};

Array softmax(const Array& x, std::int64_t axis, bool log);
Array softmax_backward(const Array& dout, const Array& out, std::int64_t axis, bool log);

}  // namespace weft
