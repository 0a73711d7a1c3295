// The C structs of DLPack 0.8 (https://dmlc.github.io/dlpack), by which libraries hand each other arrays
// without a copy. An ABI: names and order are the standard's.
#pragma once
#include <cstdint>
#include <optional>

#include "core/dtype.h"

extern "C" {
enum DLDeviceType : std::int32_t { kDLCPU = 1, kDLCUDA = 2 };
enum DLDataTypeCode : std::uint8_t { kDLInt = 0, kDLUInt = 1, kDLFloat = 2, kDLBfloat = 4, kDLBool = 6 };

struct DLDevice {
  DLDeviceType device_type;
  std::int32_t device_id;
};
struct DLDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: row-major
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};
}

namespace weft {

inline DLDataType dlpack_of_dtype(DType dtype) {
  constexpr std::uint8_t codes[] = {kDLFloat, kDLFloat, kDLInt, kDLInt, kDLUInt, kDLBool, kDLBfloat};
  return {codes[static_cast<int>(dtype)], static_cast<std::uint8_t>(8 * itemsize(dtype)), 1};
}

inline std::optional<DType> dtype_of_dlpack(DLDataType given) {
  for (int i = 0; i < dtype_count; ++i) {
    const DLDataType known = dlpack_of_dtype(static_cast<DType>(i));
    if (given.code == known.code && given.bits == known.bits && given.lanes == 1)
      return static_cast<DType>(i);
  }
  return {};
}

}  // namespace weft
