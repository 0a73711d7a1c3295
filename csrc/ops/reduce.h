// Reductions over any set of axes.
//
//   sum, prod         of the elements; integers and bool in int64, which wraps around
//   mean              sum / n, floating only
//   sum_squares       of the elements, floating only
//   var               sum (x - mean)^2 / (n - correction), in two passes, floating only; NaN where
//                     n <= correction
//   max, min          NaN if any element is NaN; an empty reduction is a ValueError
//   argmax, argmin    int64 index into the one reduced axis, or into the flattened array; the first of equal
//                     ones, and the first NaN if there is one
//   any, all          bool: some element, every element differs from 0
//
// The result has the kept axes, or with keepdim all axes with 1 for the reduced ones.
// Sums run in blocks whose size depends on the problem alone, combined in a fixed order: the result has the
// same bits for every number of threads. float32 sums have at most the error of pairwise summation, and those
// of bfloat16 are rounded once.
#pragma once
#include <cstdint>

#include "core/dims.h"
#include "core/dtype.h"
#include "core/enum.h"

namespace weft {

class Array;

// clang-format off
#define WEFT_REDUCTIONS(F) \
  F(sum) F(prod) F(mean) F(sum_squares) F(var) F(max) F(min) F(argmax) F(argmin) F(any) F(all)
// clang-format on
enum class ReduceOp : std::uint8_t { WEFT_REDUCTIONS(WEFT_ENUM_MEMBER) };

// out[kept...] = op over reduced... of x. out is contiguous over the kept axes. Both lists hold at least
// one dimension (of size 1 where there is none) and are in the array's order of axes, with neighbours that
// lie evenly in memory joined. At least one kept element.
struct ReduceArgs {
  ReduceOp op;
  DType dtype;  // of x
  DType out_dtype;
  int kept_ndim;
  std::int64_t kept_shape[max_rank];
  std::int64_t kept_strides[max_rank];
  int reduced_ndim;
  std::int64_t reduced_shape[max_rank];
  std::int64_t reduced_strides[max_rank];
  void* out;
  const void* x;
  double correction;  // var
};

// No axes: over all of them.
Array reduce(ReduceOp op, const Array& x, const Dims& axes, bool keepdim, double correction = 0);
const char* name(ReduceOp op);

}  // namespace weft
