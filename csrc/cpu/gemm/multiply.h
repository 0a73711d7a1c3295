// One matrix product by the method that suits its shape, for gemm itself and for what is built on it.
#pragma once
#include "cpu/gemm/problem.h"

namespace weft::cpu::WEFT_ISA {

// M, N and K are at least 1. The bits depend on the problem alone.
void multiply(const Problem<float>& g);
void multiply(const Problem<double>& g);

}  // namespace weft::cpu::WEFT_ISA
