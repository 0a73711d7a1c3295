#include "core/dtype.h"

namespace weft {

namespace {
constexpr std::size_t sizes[dtype_count] = {4, 8, 8, 4, 1, 1, 2};
constexpr const char* names[dtype_count] = {"float32", "float64", "int64",   "int32",
                                            "uint8",   "bool",    "bfloat16"};
}  // namespace

std::size_t itemsize(DType dtype) { return sizes[static_cast<int>(dtype)]; }
const char* name(DType dtype) { return names[static_cast<int>(dtype)]; }
bool is_floating(DType dtype) {
  return dtype == DType::float32 || dtype == DType::float64 || dtype == DType::bfloat16;
}

}  // namespace weft
