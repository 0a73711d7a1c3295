// Reading and adding by index along one axis, one-hot codes, joining and padding.
//
//   index_select  out[o,i,:] = x[o, index[i], :]                index of rank 1
//   index_add     out[o, index[i], :] += x[o,i,:]               its gradient; added in the order of i
//   gather        out[o,i,j] = x[o, index[o,i,j], j]            index and x agree in all but this axis
//   scatter_add   out[o, index[o,i,j], j] += x[o,i,j]           its gradient; added in the order of i
//   one_hot       out[i,c] = 1 if index[i] = c else 0
//
// Contiguous, seen as (outer, axis, inner). Indices are int64 (int32 is cast), checked before a kernel runs:
// -n <= index < n, where a negative one counts from the end, and 0 <= index < classes for one_hot.
// IndexError otherwise: "gather: index 7 is out of range for size 5 (index (3, 2), array (3, 5))".
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace weft {

class Array;
struct Dims;

struct IndexSelectArgs {
  DType dtype;
  std::int64_t outer, n, inner, count;  // n: length of the indexed axis; count: number of indices
  void* out;                            // index_select (outer,count,inner); index_add (outer,n,inner)
  const void* x;                        // index_select (outer,n,inner); index_add (outer,count,inner)
  const std::int64_t* index;            // count
};
struct GatherArgs {
  DType dtype;
  std::int64_t outer, n, inner, count;
  void* out;
  const void* x;
  const std::int64_t* index;  // outer * count * inner
};
struct OneHotArgs {
  DType dtype;  // of out
  std::int64_t count, classes;
  void* out;
  const std::int64_t* index;
};

// check: false where every index is known to be in range, as a data loader's own are: a check makes the host
// wait for a device.
Array index_select(const Array& x, std::int64_t axis, const Array& index, bool check = true);
// In place: `out` is contiguous and not bool.
void index_add(const Array& out, std::int64_t axis, const Array& index, const Array& x);
Array gather(const Array& x, std::int64_t axis, const Array& index);
void scatter_add(const Array& out, std::int64_t axis, const Array& index, const Array& x);
// classes -1: as many as the largest index needs.
Array one_hot(const Array& index, std::int64_t classes, DType dtype);
// Made of copies; no kernel of their own.
Array concatenate(const Array* arrays, int count, std::int64_t axis);
Array stack(const Array* arrays, int count, std::int64_t axis);
// Widths before and after each axis; negative ones crop.
Array pad(const Array& x, const Dims& before, const Dims& after, double value);

}  // namespace weft
