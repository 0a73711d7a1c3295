// Loops over threads. The pieces into which a problem is cut depend on the problem alone, never on the number
// of threads: that, and adding partial sums in a fixed order, gives the same bits for any number of threads.
#pragma once
#include <cstdint>
#include <type_traits>

#include "core/threads.h"
#include "cpu/denormals.h"

namespace weft::cpu::WEFT_ISA {

template <class T>
[[gnu::always_inline]] inline T min_of(T a, T b) {
  return b < a ? b : a;
}
template <class T>
[[gnu::always_inline]] inline T max_of(T a, T b) {
  return a < b ? b : a;
}
[[gnu::always_inline]] inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// f(i) for every i < count, spread over threads. `work` is the total in elementary operations (an
// element moved, a multiplication): starting threads costs a few microseconds, so small work stays here.
template <class F>
inline void parallel_tasks(std::int64_t count, std::int64_t work, F&& f) {
  constexpr std::int64_t worth_a_thread = 16384;
  const std::int64_t useful = min_of(count, work / worth_a_thread);
  const int threads = static_cast<int>(min_of<std::int64_t>(useful, num_threads()));
  if (threads <= 1) {
    for (std::int64_t i = 0; i < count; ++i) f(i);
    return;
  }
  using Function = std::remove_reference_t<F>;
  const auto tasks = [](void* context, std::int64_t begin, std::int64_t end) {
    Function& g = *static_cast<Function*>(context);
    for (std::int64_t i = begin; i < end; ++i) g(i);
  };
  run_tasks(count, threads, tasks, const_cast<std::remove_const_t<Function>*>(&f));
}

// f(begin, end) over pieces of [0, n) of `grain` elements each.
template <class F>
inline void parallel_ranges(std::int64_t n, std::int64_t grain, std::int64_t work, F&& f) {
  parallel_tasks(ceil_div(n, grain), work, [&](std::int64_t i) { f(i * grain, min_of((i + 1) * grain, n)); });
}

}  // namespace weft::cpu::WEFT_ISA
