#include "core/threads.h"

#include <pthread.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <atomic>
#include <exception>
#include <latch>

#include "core/error.h"
#include "core/float_mode.h"
#include "core/one_thread.h"

namespace weft {

namespace {

constexpr int most_threads = 1023;

thread_local bool at_tasks = false;
thread_local bool alone = false;
thread_local int teams_size = 1;  // the calling thread and the helpers that OpenMP keeps for it

std::atomic<bool> busy{false};  // the processors are shared out already
std::atomic<int> wanted{0};     // 0: nobody has said

// One thread's part of the tasks. Others take from it too, so it has a cache line of its own.
struct alignas(64) Share {
  std::atomic<std::int64_t> next{0};
  std::int64_t end = 0;
};
Share shares[most_threads];  // of the round that is `busy`

// Tasks that some threads do together.
class Round {
 public:
  Round(std::int64_t count, int threads, Tasks tasks, void* context)
      : tasks_(tasks),
        context_(context),
        threads_(threads),
        chunk_(std::max<std::int64_t>(1, count / threads / 8)) {
    for (int t = 0; t < threads; ++t) {
      shares[t].next.store(count * t / threads, std::memory_order_relaxed);
      shares[t].end = count * (t + 1) / threads;
    }
  }

  // One thread's work: its own share first, then what others left.
  void work(int own) noexcept {
    if (own >= threads_) return;
    const WithFloatMode same(mode_);
    at_tasks = true;
    try {
      for (int k = 0; k < threads_; ++k) {
        Share& share = shares[(own + k) % threads_];
        for (;;) {
          if (share.next.load(std::memory_order_relaxed) >= share.end) break;
          const std::int64_t begin = share.next.fetch_add(chunk_, std::memory_order_relaxed);
          if (begin >= share.end) break;
          tasks_(context_, begin, std::min(begin + chunk_, share.end));
        }
      }
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
    at_tasks = false;
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const Tasks tasks_;
  void* const context_;
  const int threads_;
  const std::int64_t chunk_;
  const FloatMode mode_ = float_mode();  // the caller's
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // of the first that failed
};

// How many of the threads wanted a team can have. OpenMP's runtime ends the process where the system gives it
// no more, so those that are new are tried first, and an eighth more of them: the runtime needs memory beside.
// They are bare threads, which never allocate: malloc would keep an arena of 64 MB for each.
int granted(int threads) noexcept {
  if (threads <= teams_size) return teams_size = threads;
  const int added = threads - teams_size, wanted_more = added + added / 8 + 2;
  static pthread_t trial[most_threads + most_threads / 8 + 2];  // of the one caller at a time
  std::latch all(1);
  int count = 0;
  const auto wait = [](void* latch) -> void* {
    static_cast<std::latch*>(latch)->wait();
    return nullptr;
  };
  while (count < wanted_more && pthread_create(&trial[count], nullptr, wait, &all) == 0) ++count;
  all.count_down();
  for (int i = 0; i < count; ++i) pthread_join(trial[i], nullptr);
  if (count < wanted_more) threads = teams_size + std::max(0, count * 8 / 9 - 2);
  return teams_size = threads;
}

// The helpers of the thread that forks end before: in the child its runtime would wait for them for ever.
void before_fork() {
#ifdef _OPENMP
  if (teams_size > 1 && !at_tasks && omp_pause_resource_all(omp_pause_soft) == 0) teams_size = 1;
#endif
}

void after_fork_in_child() {
  busy = false;
  wanted = 1;
}

int initial_threads() {
  pthread_atfork(before_fork, nullptr, after_fork_in_child);
#ifdef _OPENMP
  return std::clamp(omp_get_max_threads(), 1, most_threads);  // it has read OMP_NUM_THREADS
#else
  return 1;
#endif
}

}  // namespace

int num_threads() {
  static const int at_start = initial_threads();
  if (alone) return 1;
  const int count = wanted.load(std::memory_order_relaxed);
  return count ? count : at_start;
}

void set_num_threads(int count) {
  num_threads();  // installs the fork handlers
  check_value(count >= 1 && count <= most_threads, "set_num_threads: expected 1 to ", most_threads,
              " threads, got ", count);
  wanted = count;
}

const char* threads_runtime() {
#if !defined(_OPENMP)
  return "none: one thread";
#elif defined(__clang__)
  return "OpenMP (libomp)";
#else
  return "OpenMP (libgomp)";
#endif
}

void run_tasks(std::int64_t count, int threads, Tasks tasks, void* context) {
  threads = static_cast<int>(std::min<std::int64_t>({threads, count, most_threads}));
  if (threads <= 1 || at_tasks || busy.exchange(true, std::memory_order_acquire))
    return tasks(context, 0, count);
  // Always the whole team: a runtime may end the threads that a smaller one leaves out, and begin them anew.
  const int team = granted(std::clamp(num_threads(), threads, most_threads));
  Round round(count, std::min(threads, team), tasks, context);
#ifdef _OPENMP
#pragma omp parallel num_threads(team)
  round.work(omp_get_thread_num());
#else
  round.work(0);
#endif
  busy.store(false, std::memory_order_release);
  round.rethrow();
}

bool in_tasks() { return at_tasks; }

OneThread::OneThread(bool wanted) : before_(alone) { alone = alone || wanted; }
OneThread::~OneThread() { alone = before_; }

}  // namespace weft
