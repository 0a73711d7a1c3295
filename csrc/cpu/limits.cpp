// Multiply-adds in registers, in ten chains of the widest vectors: more than latency times units on today's
// processors (4 x 2), and few enough for sixteen registers.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

void fma_loop(Stream&, const FmaLoopArgs& args) {
  using Vec = VecOf<float>::type;
  constexpr int chains = 10, lanes = lanes_of<float>;
  // The work says that every thread is worth starting.
  parallel_tasks(args.threads, std::int64_t{1} << 40, [&](std::int64_t t) {
    const Vec half = Vec{} + 0.5f;
    Vec s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{}, s8{}, s9{};
    const auto step = [&](Vec & sum) __attribute__((always_inline)) {
      sum = sum * half + half;  // tends to 1
#ifdef __SSE2__
      asm volatile("" : "+v"(sum));  // in a register, and nothing computed ahead
#endif
    };
    for (std::int64_t i = 0; i < args.iterations; ++i) {
      step(s0), step(s1), step(s2), step(s3), step(s4);
      step(s5), step(s6), step(s7), step(s8), step(s9);
    }
    const Vec total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)) + (s8 + s9);
    const double done = 2.0 * chains * lanes * static_cast<double>(args.iterations);
    args.flop[t] = total[0] >= 0 ? done : 0;
  });
}

}  // namespace weft::cpu::WEFT_ISA
