// Element types, from one list.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/bfloat16.h"
#include "core/enum.h"

namespace weft {

// Member, name, C++ type.
#define WEFT_DTYPES(F)            \
  F(float32, "float32", float)    \
  F(float64, "float64", double)   \
  F(int64, "int64", std::int64_t) \
  F(int32, "int32", std::int32_t) \
  F(uint8, "uint8", std::uint8_t) \
  F(bool_, "bool", bool)          \
  F(bfloat16, "bfloat16", BFloat16)
enum class DType : std::uint8_t { WEFT_DTYPES(WEFT_ENUM_MEMBER) };

#define WEFT_ONE(...) +1
constexpr int dtype_count = WEFT_DTYPES(WEFT_ONE);
#undef WEFT_ONE

// Size of one element in bytes. Not `inline`: sources that are compiled once per instruction set
// must not carry a mergeable copy of it (see docs/kernels.md).
std::size_t itemsize(DType dtype);
const char* name(DType dtype);
bool is_floating(DType dtype);  // float32, float64, bfloat16

// C++ type -> DType.
template <class T>
struct dtype_of;
#define WEFT_DTYPE_OF(member, name, type)         \
  template <>                                     \
  struct dtype_of<type> {                         \
    static constexpr DType value = DType::member; \
  };
WEFT_DTYPES(WEFT_DTYPE_OF)
#undef WEFT_DTYPE_OF

// The type in which numbers of type T are computed: float for bfloat16.
template <class T>
struct Computed {
  using type = T;
};
template <>
struct Computed<BFloat16> {
  using type = float;
};
template <class T>
using Wide = typename Computed<T>::type;

// A value of the C++ type that a DType stands for, handed to the function of a dispatch.
template <class T>
struct Type {
  using type = T;
};

// Calls f(Type<T>{}) with the C++ type of `dtype`. The narrower forms take the dtypes that `ops/` has let
// through; anything else is a fault of the caller and ends in a trap. `builtin`: those that C++ computes
// with, all but bfloat16.
template <class F>
[[gnu::always_inline]] inline void dispatch_all(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(Type<float>{});
    case DType::float64: return f(Type<double>{});
    case DType::int64: return f(Type<std::int64_t>{});
    case DType::int32: return f(Type<std::int32_t>{});
    case DType::uint8: return f(Type<std::uint8_t>{});
    case DType::bool_: return f(Type<bool>{});
    case DType::bfloat16: return f(Type<BFloat16>{});
  }
  __builtin_trap();
}

template <class F>
[[gnu::always_inline]] inline void dispatch_builtin(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(Type<float>{});
    case DType::float64: return f(Type<double>{});
    case DType::int64: return f(Type<std::int64_t>{});
    case DType::int32: return f(Type<std::int32_t>{});
    case DType::uint8: return f(Type<std::uint8_t>{});
    case DType::bool_: return f(Type<bool>{});
    default: __builtin_trap();
  }
}

template <class F>
[[gnu::always_inline]] inline void dispatch_number(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(Type<float>{});
    case DType::float64: return f(Type<double>{});
    case DType::int64: return f(Type<std::int64_t>{});
    case DType::int32: return f(Type<std::int32_t>{});
    case DType::uint8: return f(Type<std::uint8_t>{});
    default: __builtin_trap();
  }
}

template <class F>
[[gnu::always_inline]] inline void dispatch_floating(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(Type<float>{});
    case DType::float64: return f(Type<double>{});
    default: __builtin_trap();
  }
}

template <class F>
[[gnu::always_inline]] inline void dispatch_floating_or_bfloat16(DType dtype, F&& f) {
  if (dtype == DType::bfloat16) return f(Type<BFloat16>{});
  dispatch_floating(dtype, f);
}

}  // namespace weft
