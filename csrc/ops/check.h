// Checks that several operations share. Each throws with the operation's name, the rule, and both whole
// shapes.
#pragma once
#include "core/array.h"

namespace weft {

// TypeError: "softmax: input must be float32 or float64, got int64".
void check_floating(const char* op, const char* what, const Array& x);
// TypeError: "add: operands have dtypes float32 and float64".
void check_same_dtype(const char* op, const char* what_a, const Array& a, const char* what_b, const Array& b);
// ValueError: "mse_loss: input (2, 3) and target (3, 2) must have the same shape".
void check_same_shape(const char* op, const char* what_a, const Array& a, const char* what_b, const Array& b);
// RuntimeError: "add: operands are on cpu and cuda:0".
void check_same_device(const char* op, const char* what_a, const Array& a, const char* what_b,
                       const Array& b);
// ValueError: "conv2d: input must have rank 4, got shape (3, 3)".
void check_rank(const char* op, const char* what, const Array& x, int rank);
// ValueError where an operation would write into read-only memory.
void check_writable(const char* op, const Array& out);

}  // namespace weft
