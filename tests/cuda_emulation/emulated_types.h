// CUDA's vector types, with CUDA's alignment (CUDA C++ Programming Guide, "Built-in Vector Types"), and dim3.
#pragma once

#include <cstddef>
#include <cstdint>

// All of them: struct, and the function that makes one.
#define WEFT_VECTOR_1(name, type) \
  struct name##1 { type x; };     \
  constexpr name##1 make_##name##1(type x) { return {x}; }
#define WEFT_VECTOR_2(name, type, alignment)        \
  struct alignas(alignment) name##2 { type x, y; }; \
  constexpr name##2 make_##name##2(type x, type y) { return {x, y}; }
#define WEFT_VECTOR_3(name, type)   \
  struct name##3 { type x, y, z; }; \
  constexpr name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }
#define WEFT_VECTOR_4(name, type, alignment)              \
  struct alignas(alignment) name##4 { type x, y, z, w; }; \
  constexpr name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
#define WEFT_VECTORS(name, type, alignment_of_2, alignment_of_4) \
  WEFT_VECTOR_1(name, type)                                      \
  WEFT_VECTOR_2(name, type, alignment_of_2)                      \
  WEFT_VECTOR_3(name, type)                                      \
  WEFT_VECTOR_4(name, type, alignment_of_4)

WEFT_VECTORS(char, signed char, 2, 4)
WEFT_VECTORS(uchar, unsigned char, 2, 4)
WEFT_VECTORS(short, short, 4, 8)
WEFT_VECTORS(ushort, unsigned short, 4, 8)
WEFT_VECTORS(int, int, 8, 16)
WEFT_VECTORS(uint, unsigned, 8, 16)
WEFT_VECTORS(long, long, 16, 16)
WEFT_VECTORS(ulong, unsigned long, 16, 16)
WEFT_VECTORS(longlong, long long, 16, 16)
WEFT_VECTORS(ulonglong, unsigned long long, 16, 16)
WEFT_VECTORS(float, float, 8, 16)
WEFT_VECTORS(double, double, 16, 16)

#undef WEFT_VECTOR_1
#undef WEFT_VECTOR_2
#undef WEFT_VECTOR_3
#undef WEFT_VECTOR_4
#undef WEFT_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};
