// Checks that several operations share. Each throws with the operation's name, the rule, and both whole
// shapes.
#pragma once
#include <cstdint>

#include "core/dims.h"
#include "core/dtype.h"

namespace weft {

class Array;

// TypeError: "softmax: input must be float32 or float64, got int64".
void check_floating(const char* op, const char* what, const Array& x);
// TypeError: "relu: input must be float32, float64 or bfloat16, got int64".
void check_floating_or_bfloat16(const char* op, const char* what, const Array& x);
// TypeError: "index_add: out must not be bfloat16; convert it to float32 first".
void refuse_bfloat16(const char* op, const char* what, const Array& x);
// TypeError: "add: operands have dtypes float32 and float64".
void check_same_dtype(const char* op, const char* what_a, const Array& a, const char* what_b, const Array& b);
// ValueError: "mse_loss: input (2, 3) and target (3, 2) must have the same shape".
void check_same_shape(const char* op, const char* what_a, const Array& a, const char* what_b, const Array& b);
// RuntimeError: "add: operands are on cpu and cuda:0".
void check_same_device(const char* op, const char* what_a, const Array& a, const char* what_b,
                       const Array& b);
// ValueError: "conv2d: input must have rank 4, got shape (3, 3)".
void check_rank(const char* op, const char* what, const Array& x, int rank);
// ValueError where an operation would write into read-only memory, or several elements into one place.
void check_writable(const char* op, const Array& out);

// Checks of elements. They are steps of the stream, before the kernel that relies on them: a replay makes
// them again. On the CPU, and on CUDA outside of a replay, the error comes at once; in a replay on CUDA with
// the next synchronization, and until then a kernel passes over a bad element.
//
// `fail` throws for the first value that breaks the rule; it may use op, what, low, high, index and array for
// its message.
enum class ElementRule : std::uint8_t {
  range,     // int64: low <= v < high or, with has_ignore, v = ignore
  finite,    // float64
  fraction,  // float32 or float64: 0 <= v <= 1, or NaN, which shows in the result
};
struct CheckValuesArgs {
  const char* op = nullptr;
  const char* what = nullptr;
  ElementRule rule = ElementRule::range;
  const void* values = nullptr;
  DType dtype = DType::int64;
  std::int64_t count = 0, low = 0, high = 0, ignore = 0;
  bool has_ignore = false;
  Dims index = {}, array = {};
  void (*fail)(const CheckValuesArgs& args, std::int64_t position, std::int64_t value, double real) = nullptr;
};
void check_values(const CheckValuesArgs& args, const Array& values);

// Contiguous floating values. ValueError: "binary_cross_entropy: input must lie in [0, 1], got 1.5 at
// position 3".
void check_fractions(const char* op, const char* what, const Array& x);
// Contiguous int64 indices, each at least `low` and below `n`; `array` is what they index.
// IndexError: "gather: index 7 is out of range for size 5 (index (3, 2), array (3, 5))".
void check_index(const char* op, const Array& index, std::int64_t low, std::int64_t n, const Dims& array);

}  // namespace weft
