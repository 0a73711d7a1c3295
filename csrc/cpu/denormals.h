// Numbers below the smallest normal one (1.2e-38) count as zero while a FlushDenormals lives: many processors
// compute with them a hundred times slower, and the weights and gradients of a trained network drift there
// (https://github.com/pytorch/pytorch/issues/67797). A kernel that multiplies and adds declares one in its
// first line; afterwards the thread's mode is what it was, so that nobody else's arithmetic changes.
// parallel.h takes the mode over to the threads that help.
#pragma once
#include <cstdint>

namespace weft::cpu::WEFT_ISA {

#if defined(__SSE2__)
using FloatMode = unsigned;
constexpr FloatMode flush_bits = 0x8040;  // of MXCSR: results to zero, operands are zero
[[gnu::always_inline]] inline FloatMode float_mode() { return __builtin_ia32_stmxcsr(); }
[[gnu::always_inline]] inline void set_float_mode(FloatMode mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
using FloatMode = std::uint64_t;
constexpr FloatMode flush_bits = std::uint64_t{1} << 24;  // of FPCR
[[gnu::always_inline]] inline FloatMode float_mode() {
  FloatMode mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
[[gnu::always_inline]] inline void set_float_mode(FloatMode mode) {
  asm volatile("msr fpcr, %0" ::"r"(mode));
}
#else
using FloatMode = unsigned;
constexpr FloatMode flush_bits = 0;
[[gnu::always_inline]] inline FloatMode float_mode() { return 0; }
[[gnu::always_inline]] inline void set_float_mode(FloatMode) {}
#endif

// Sets the calling thread's mode for as long as it lives.
class WithFloatMode {
 public:
  [[gnu::always_inline]] explicit WithFloatMode(FloatMode mode) : before_(float_mode()) {
    if (mode != before_) set_float_mode(mode);
  }
  [[gnu::always_inline]] ~WithFloatMode() {
    if (float_mode() != before_) set_float_mode(before_);
  }
  WithFloatMode(const WithFloatMode&) = delete;
  WithFloatMode& operator=(const WithFloatMode&) = delete;

 private:
  FloatMode before_;
};

class FlushDenormals : WithFloatMode {
 public:
  [[gnu::always_inline]] FlushDenormals() : WithFloatMode(float_mode() | flush_bits) {}
};

}  // namespace weft::cpu::WEFT_ISA
