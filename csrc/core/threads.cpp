#include "core/threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/float_mode.h"
#include "core/one_thread.h"

namespace weft {

namespace {

constexpr int most_threads = 1023;

int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

thread_local bool at_tasks = false;
thread_local bool alone = false;

// One thread's part of the tasks. Others take from it too, so it has a cache line of its own.
struct alignas(64) Share {
  std::atomic<std::int64_t> next{0};
  std::int64_t end = 0;
};

// Threads that wait for tasks: a millisecond awake, which is longer than Python takes between two kernels,
// then asleep.
class Pool {
 public:
  void run(std::int64_t count, int threads, Tasks tasks, void* context) {
    if (taken_.exchange(true, std::memory_order_acquire)) return tasks(context, 0, count);
    hire(threads - 1);
    tasks_ = tasks;
    context_ = context;
    mode_ = float_mode();
    threads_ = threads;
    chunk_ = std::max<std::int64_t>(1, count / threads / 8);
    for (int t = 0; t < threads; ++t) {
      shares_[t].next.store(count * t / threads, std::memory_order_relaxed);
      shares_[t].end = count * (t + 1) / threads;
    }
    open(threads);
    work(0);
    close();
    const std::exception_ptr error = failed_.exchange(false) ? std::exchange(error_, nullptr) : nullptr;
    taken_.store(false, std::memory_order_release);
    if (error) std::rethrow_exception(error);
  }

 private:
  static constexpr std::uint32_t closed = 1u << 31;  // of inside_
  static constexpr std::uint32_t one_round = 1u
                                             << 10;  // of round_; below it stands how many threads may come

  void hire(int helpers) {
    int hired = hired_.load(std::memory_order_relaxed);
    if (helpers <= hired) return;
    // Nobody is inside, and who waits looks at no share.
    shares_ = std::make_unique<Share[]>(static_cast<std::size_t>(helpers) + 1);
    const std::uint32_t round = round_.load(std::memory_order_relaxed);
    try {
      for (; hired < helpers; ++hired) std::thread([=, this] { help(hired + 1, round); }).detach();
    } catch (const std::system_error&) {
      // The system gives no more threads: those that are there do the others' shares.
    }
    hired_.store(hired, std::memory_order_relaxed);
  }

  void open(int threads) {
    inside_.fetch_and(~closed, std::memory_order_release);
    const std::uint32_t round = (round_.load(std::memory_order_relaxed) | (one_round - 1)) + 1;
    round_.store(round | static_cast<std::uint32_t>(threads));
    if (asleep_.load() > 0) round_.notify_all();
  }

  // From here on nobody comes in; waits for those who are in and at their last chunk.
  void close() {
    inside_.fetch_or(closed, std::memory_order_acq_rel);
    for (int turn = 0; inside_.load(std::memory_order_acquire) != closed; ++turn)
      turn % 1024 == 1023 ? static_cast<void>(sched_yield()) : pause();
  }

  [[noreturn]] void help(int id, std::uint32_t seen) {
    for (;;) {
      seen = next_round(seen);
      if (id >= static_cast<int>(seen % one_round)) continue;
      if (!(inside_.fetch_add(1, std::memory_order_acquire) & closed)) {
        // The tasks may be later ones than those of the round seen, for fewer threads.
        const WithFloatMode same(mode_);
        work(id % threads_);
      }
      inside_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::uint32_t next_round(std::uint32_t seen) {
    using Clock = std::chrono::steady_clock;
    // Threads that are more than the processors would only keep each other from working.
    const bool room = hired_.load(std::memory_order_relaxed) < processors_;
    const auto patience = std::chrono::microseconds(room ? 1000 : 0);
    const auto begin = Clock::now();
    for (;;) {
      for (int i = 0; i < 256; ++i) {
        const std::uint32_t now = round_.load(std::memory_order_acquire);
        if (now != seen) return now;
        pause();
      }
      if (Clock::now() - begin >= patience) break;
    }
    asleep_.fetch_add(1);
    round_.wait(seen);
    asleep_.fetch_sub(1);
    return round_.load(std::memory_order_acquire);
  }

  // Its own share first, then what others left.
  void work(int own) noexcept {
    at_tasks = true;
    try {
      for (int k = 0; k < threads_; ++k) {
        Share& share = shares_[(own + k) % threads_];
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

  std::atomic<bool> taken_{false};
  alignas(64) std::atomic<std::uint32_t> round_{0};
  std::atomic<int> asleep_{0};
  alignas(64) std::atomic<std::uint32_t> inside_{
      closed};  // how many threads are at the tasks beside the caller
  // What follows is written while nobody is inside.
  alignas(64) Tasks tasks_ = nullptr;
  void* context_ = nullptr;
  FloatMode mode_ = 0;
  int threads_ = 1;
  std::int64_t chunk_ = 1;
  std::unique_ptr<Share[]> shares_;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // of the first that failed
  std::atomic<int> hired_{0};
  const int processors_ = processors();
};

std::atomic<Pool*> current{nullptr};
std::atomic<int> wanted{0};  // 0: nobody has said

// The threads stay behind in the parent: the child has none until it asks for them.
void after_fork_in_child() {
  current = nullptr;
  wanted = 1;
}

int initial_threads() {
  pthread_atfork(nullptr, nullptr, after_fork_in_child);
  const char* given = std::getenv("OMP_NUM_THREADS");
  const int count = given ? std::atoi(given) : 0;
  return count >= 1 ? count : processors();
}

}  // namespace

int num_threads() {
  static const int at_start = initial_threads();
  if (alone) return 1;
  const int count = wanted.load(std::memory_order_relaxed);
  return count ? count : at_start;
}

void set_num_threads(int count) {
  num_threads();  // installs the fork handler
  check_value(count >= 1, "set_num_threads: expected at least 1 thread, got ", count);
  wanted = count;
}

namespace {

// Never freed: its threads wait in it to the process's end.
Pool& pool() {
  Pool* found = current.load(std::memory_order_acquire);
  if (found) return *found;
  num_threads();  // installs the fork handler
  auto made = std::make_unique<Pool>();
  if (current.compare_exchange_strong(found, made.get())) return *made.release();
  return *found;
}

}  // namespace

void run_tasks(std::int64_t count, int threads, Tasks tasks, void* context) {
  threads = static_cast<int>(std::min<std::int64_t>({threads, count, most_threads}));
  if (threads <= 1 || at_tasks) return tasks(context, 0, count);
  pool().run(count, threads, tasks, context);
}

bool in_tasks() { return at_tasks; }

OneThread::OneThread(bool wanted) : before_(alone) { alone = alone || wanted; }
OneThread::~OneThread() { alone = before_; }

}  // namespace weft
