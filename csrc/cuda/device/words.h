// Elements whose values don't matter, by their size.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace weft::cuda {

inline int size_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
    case DType::int32: return 4;
    case DType::float64:
    case DType::int64: return 8;
    case DType::bfloat16: return 2;
    default: return 1;
  }
}

// Calls f with a word of this dtype's size.
template <class F>
void by_size(DType dtype, F&& f) {
  switch (size_of(dtype)) {
    case 4: return f(std::uint32_t{});
    case 8: return f(std::uint64_t{});
    case 2: return f(std::uint16_t{});
    default: return f(std::uint8_t{});
  }
}

}  // namespace weft::cuda
