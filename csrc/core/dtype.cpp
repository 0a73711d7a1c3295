#include "core/dtype.h"

namespace weft {

namespace {
#define WEFT_SIZE(member, name, type) sizeof(type),
#define WEFT_NAME(member, name, type) name,
constexpr std::size_t sizes[] = {WEFT_DTYPES(WEFT_SIZE)};
constexpr const char* names[] = {WEFT_DTYPES(WEFT_NAME)};
#undef WEFT_SIZE
#undef WEFT_NAME
}  // namespace

std::size_t itemsize(DType dtype) { return sizes[static_cast<int>(dtype)]; }
const char* name(DType dtype) { return names[static_cast<int>(dtype)]; }
bool is_floating(DType dtype) {
  return dtype == DType::float32 || dtype == DType::float64 || dtype == DType::bfloat16;
}

}  // namespace weft
