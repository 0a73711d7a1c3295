// Numbers below the smallest normal one (1.2e-38) count as zero while a FlushDenormals lives: many processors
// compute with them a hundred times slower, and the weights and gradients of a trained network drift there
// (https://github.com/pytorch/pytorch/issues/67797). A kernel that multiplies and adds declares one in its
// first line; afterwards the thread's mode is what it was, so that nobody else's arithmetic changes.
// The threads that help take the mode over (core/threads.h).
#pragma once
#include "core/float_mode.h"

namespace weft::cpu::WEFT_ISA {

class FlushDenormals : WithFloatMode {
 public:
  [[gnu::always_inline]] FlushDenormals() : WithFloatMode(float_mode() | flush_bits) {}
};

}  // namespace weft::cpu::WEFT_ISA
