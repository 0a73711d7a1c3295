// Elementwise arithmetic with NumPy's broadcasting, comparisons, selection, casts and copies.
//
//   unary   out[i] = f(x[i])                exp, log, ... keep the dtype and need a floating one;
//                                           neg, abs, sign, square, clip, floor, ceil, round
//                                           take any number;
//                                           isnan, isfinite, logical_not give bool
//   binary  out[i] = f(a[i], b[i])          both of one dtype; comparisons and logical_* give bool
//   where   out[i] = condition[i] ? a[i] : b[i]
//   copy    out[i] = (dtype of out) x[i]
//   fill    out[i] = value
//   arange  out[i] = start + i step         contiguous
//
// Shapes: any rank, any strides; operands broadcast to one shape. `ops/` joins dimensions that lie evenly
// in memory and puts the fastest one last before a kernel sees them. `out` may be one of the operands
// (an update in place), but may not overlap with it otherwise.
// NaN: maximum, minimum, sign and clip propagate it; comparisons with it are false, `ne` true.
// floor_divide and remainder: a = b q + r with a whole q and r of b's sign, as in Python.
// Integers wrap around; div of integers is done in float32, as true division; an integer division by zero
// gives 0; pow with a negative exponent is 0 but for a base of 1 or -1. Bounds of clip are rounded inwards.
// round: halves to even. Casts cut floats towards zero; anything but 0 is true.
// bfloat16 is computed in float32 and rounded once; casts to it round to the nearest, ties to even.
#pragma once
#include <cstdint>

#include "core/dims.h"
#include "core/dtype.h"

namespace weft {

class Array;
class Stream;
enum class MemoryFormat : std::uint8_t;

// Their members are in ops/formulas.h, which is for those that compute or name them.
enum class UnaryOp : std::uint8_t;
enum class BinaryOp : std::uint8_t;

// One operand of a strided loop nest. Strides in elements; 0 where it is broadcast.
struct Strided {
  void* data;
  std::int64_t strides[max_rank];
};

// ndim >= 1; dimension ndim-1 is the inner loop.
struct UnaryArgs {
  UnaryOp op;
  DType dtype;  // of x
  int ndim;
  std::int64_t shape[max_rank];
  Strided out, x;
  double low, high;  // clip
};
struct BinaryArgs {
  BinaryOp op;
  DType dtype;  // of a and b
  int ndim;
  std::int64_t shape[max_rank];
  Strided out, a, b;
};
struct WhereArgs {
  DType dtype;  // of out, a and b
  int ndim;
  std::int64_t shape[max_rank];
  Strided out, condition, a, b;
};
struct CopyArgs {
  DType to, from;
  int ndim;
  std::int64_t shape[max_rank];
  Strided out, x;
};
struct FillArgs {
  DType dtype;
  int ndim;
  std::int64_t shape[max_rank];
  Strided out;
  double value;          // for floating dtypes
  std::int64_t integer;  // for the others
};
struct ArangeArgs {
  DType dtype;
  std::int64_t n;
  void* out;
  double start, step;                        // for floating dtypes
  std::int64_t integer_start, integer_step;  // for the others
};

// --- on arrays. `out`, where given, is written and returned; else a new array is. It has the memory order of
// x, or of the first operand of the result's shape (Array::empty_like). ---
Array unary(UnaryOp op, const Array& x, const Array* out = nullptr);
Array clip(const Array& x, double low, double high, const Array* out = nullptr);
Array binary(BinaryOp op, const Array& a, const Array& b, const Array* out = nullptr);
Array where(const Array& condition, const Array& a, const Array& b);
void fill(const Array& out, double value, std::int64_t integer);
// Broadcasts and casts. Between two devices too; from a device to the host it waits for the device.
void copy_into(const Array& out, const Array& x);
// x itself where it is on the device already, else a copy there, in x's memory order.
Array moved(const Array& x, struct Device device);
Array copy(const Array& x);  // new
Array copy(const Array& x, MemoryFormat format);
Array cast(const Array& x, DType dtype);  // always new
// x itself where it is so already, else a copy:
Array contiguous(const Array& x);
Array contiguous(const Array& x, MemoryFormat format);
Array dense(const Array& x);                        // without gaps, in some order
Array laid_out(const Array& x, const Array& like);  // in the order of `like`, which is dense
Array full(const struct Dims& shape, double value, DType dtype, const struct Device& device);
// A number cut to a whole one, as fill() takes it. ValueError where no int64 holds it.
std::int64_t whole(const char* op, double value, DType dtype);
// start, start + step, ... below stop (above it for a negative step).
Array arange(double start, double stop, double step, DType dtype, struct Device device);
Array arange(std::int64_t start, std::int64_t stop, std::int64_t step, DType dtype, struct Device device);
// A number (rank 0, on the cpu) and an array as operands of one dtype: the number takes the array's; a float
// with an integer array makes both float32, an int with a bool array both int64. ValueError for an int that
// the dtype cannot hold.
void match_number(const char* op, Array& number, Array& array);
// Two Python numbers: int64, or float32 if one is a float.
void match_numbers(Array& a, Array& b);
// A reshape that copies where strides forbid a view.
Array reshape(const Array& x, const struct Dims& shape);

const char* name(UnaryOp op);
const char* name(BinaryOp op);

}  // namespace weft
