// The entry points of this folder, in the namespace of the instruction set that it is compiled for.
// Rules for every source in cpu/ (docs/kernels.md says why): no `std::` templates, no inline function from
// core/ that is not always_inline, no static object with a constructor.
#pragma once
#include "backend.h"

#ifndef WEFT_ISA
#error "compile cpu/ with -DWEFT_ISA=<namespace>"
#endif

#if defined(WEFT_ISA_avx512bf16)
// What the dot instruction speeds up is compiled for it; the rest is that of AVX-512 (table_avx512bf16.cpp).
namespace weft::cpu::avx512 {

WEFT_KERNELS(WEFT_DECLARE_KERNEL)

}  // namespace weft::cpu::avx512

namespace weft::cpu::avx512bf16 {

using namespace avx512;
void gemm(Stream& stream, const GemmArgs& args);

}  // namespace weft::cpu::avx512bf16
#else
namespace weft::cpu::WEFT_ISA {

WEFT_KERNELS(WEFT_DECLARE_KERNEL)

}  // namespace weft::cpu::WEFT_ISA
#endif
