// The inner loops of reductions: what a partial result is, how elements enter it, and how two of them join,
// for each operation and type. reduce.cpp walks through the array with them, and knows no type.
#pragma once
#include "cpu/kernels.h"
#include "cpu/parallel.h"

namespace weft::cpu::WEFT_ISA {

// What becomes of finished results: values in the result's dtype, or, in the first pass of a variance, means.
struct Finish {
  ReduceOp op;
  void* out;
  double* means;  // or nullptr
  double terms, degrees;
};

// Partial results are double for floating sums (the conversion hides behind the memory, and little is lost),
// uint64 for integer sums (they wrap around), the element's type for extremes, and bytes for any and all.
struct ReduceLoops {
  int part_size;
  void (*start)(void* parts, std::int64_t n);
  // One result: n elements join *part. `mean`: for Centred.
  void (*stretch)(void* part, const void* x, std::int64_t n, std::int64_t stride, double mean);
  // `count` results, each a contiguous row of n elements of its own, row_stride apart. Begins anew.
  void (*rows)(void* parts, const void* x, std::int64_t n, std::int64_t count, std::int64_t row_stride,
               const double* means);
  // n results side by side: a row of elements, `stride` apart, joins them; then the next row.
  void (*columns)(void* parts, const void* x, std::int64_t n, std::int64_t stride, std::int64_t rows,
                  std::int64_t row_stride, const double* means);
  void (*join)(void* parts, const void* others, std::int64_t n);
  void (*finish)(const Finish& finish, std::int64_t first, std::int64_t n, const void* parts);
};

// `centred`: the second pass of a variance.
const ReduceLoops* find_reduce_loops(ReduceOp op, DType dtype, bool centred);

// argmax and argmin: where the extreme is. The first of equal ones counts, and a NaN is more than anything.
struct PositionLoops {
  bool (*better)(const void* best, const void* other);  // other comes later and is more extreme
  // The first of n elements that is `best` (or NaN), or -1.
  std::int64_t (*find)(const void* best, const void* x, std::int64_t n, std::int64_t stride);
  // As ReduceLoops::columns, with the row's number for each result; `first` is the number of the first row.
  void (*columns)(void* parts, std::int64_t* at, const void* x, std::int64_t n, std::int64_t stride,
                  std::int64_t rows, std::int64_t row_stride, std::int64_t first);
};

const PositionLoops* find_position_loops(ReduceOp op, DType dtype);

}  // namespace weft::cpu::WEFT_ISA
