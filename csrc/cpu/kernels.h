// The entry points of this folder, in the namespace of the instruction set that it is compiled for.
// Rules for every source in cpu/ (docs/kernels.md says why): no `std::` templates, no inline function from
// core/ that is not always_inline, no static object with a constructor.
#pragma once
#include "backend.h"

#ifndef WEFT_ISA
#error "compile cpu/ with -DWEFT_ISA=<namespace>"
#endif

namespace weft::cpu::WEFT_ISA {

WEFT_KERNELS(WEFT_DECLARE_KERNEL)

}  // namespace weft::cpu::WEFT_ISA
