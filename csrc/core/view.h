// What a kernel sees of an array: plain data, no ownership, no methods. Kernels take only such
// structs, so that a launch can be copied, recorded and replayed.
#pragma once
#include "core/dtype.h"

namespace weft {

constexpr int view_max_rank = 8;

struct View {
  void* data;  // the first element, the array's offset applied
  DType dtype;
  int ndim;
  std::int64_t shape[view_max_rank];
  std::int64_t strides[view_max_rank];  // in elements; 0 where a dimension is broadcast
};

}  // namespace weft
