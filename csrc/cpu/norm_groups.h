// Row normalization in general: groups of channels with planes, and rows of doubles.
#pragma once
#include "ops/norm.h"

namespace weft::cpu::WEFT_ISA {

// channels, L and, backward, rows are not 0.
void group_norm_forward(const RowNormArgs& a);
void group_norm_backward(const RowNormBackwardArgs& a);

}  // namespace weft::cpu::WEFT_ISA
