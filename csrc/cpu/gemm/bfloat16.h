// The product of bfloat16 matrices. Compiled for the instruction sets of cpu/ and once more for those with
// the dot instruction.
#pragma once
#include "ops/gemm.h"

namespace weft {
class Stream;
}

namespace weft::cpu::WEFT_ISA {

void gemm_bfloat16(Stream& stream, const GemmArgs& args);

}  // namespace weft::cpu::WEFT_ISA
