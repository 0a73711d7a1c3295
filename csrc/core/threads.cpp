#include "core/threads.h"

#include <omp.h>
#include <pthread.h>

#include <atomic>

#include "core/error.h"

namespace weft {

namespace {

std::atomic<bool> forked{false};
std::atomic<int> threads{0};  // 0: not asked for yet

void after_fork_in_child() { forked = true; }

int initial_threads() {
  pthread_atfork(nullptr, nullptr, after_fork_in_child);
  return omp_get_max_threads();
}

}  // namespace

int num_threads() {
  static const int at_start = initial_threads();
  if (forked.load(std::memory_order_relaxed)) return 1;
  const int wanted = threads.load(std::memory_order_relaxed);
  return wanted ? wanted : at_start;
}

void set_num_threads(int count) {
  num_threads();  // installs the fork handler
  check_value(count >= 1, "set_num_threads: expected at least 1 thread, got ", count);
  threads = count;
}

}  // namespace weft
