// The mode of a thread's floating-point arithmetic: rounding, and what happens to denormals.
#pragma once
#include <cstdint>

namespace weft {

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

}  // namespace weft
