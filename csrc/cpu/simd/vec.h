// The vectors of the instruction set that this source is compiled for, by GCC's vector extensions.
#pragma once

namespace weft::cpu::WEFT_ISA {

#if defined(WEFT_ISA_avx512)
constexpr int vector_bytes = 64, vector_registers = 32;
#elif defined(WEFT_ISA_avx2)
constexpr int vector_bytes = 32, vector_registers = 16;
#else
constexpr int vector_bytes = 16, vector_registers = 16;
#endif

// GCC ignores the attribute on a template parameter, so each type is spelled out. Unaligned loads are as
// quick as aligned ones where the address is aligned.
template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(vector_bytes), aligned(8), may_alias));
};

template <class T>
constexpr int lanes_of = vector_bytes / static_cast<int>(sizeof(T));

}  // namespace weft::cpu::WEFT_ISA
