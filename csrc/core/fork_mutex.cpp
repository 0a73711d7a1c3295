#include "core/fork_mutex.h"

#include <pthread.h>

#include <new>

namespace weft {

namespace {
std::atomic<std::uint32_t> forks{0};
}

// All that there are, by level.
struct ForkMutexes {
  static constexpr int levels = static_cast<int>(ForkMutex::Level::draws) + 1;

  ForkMutexes() { pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child); }

  static ForkMutexes& all() {
    static auto* const made = new ForkMutexes;  // never destroyed: arrays are freed to the process's end
    return *made;
  }

  template <class F>
  void each(int begin, int end, F f) {
    for (int level = begin; level < end; ++level)
      for (ForkMutex* m = first[level]; m; m = m->next_) f(*m);
  }

  static void before_fork() {
    all().list.lock();
    all().each(0, levels - 1, [](ForkMutex& m) { m.lock(); });
  }
  static void after_fork_in_parent() {
    all().each(0, levels - 1, [](ForkMutex& m) { m.unlock(); });
    all().list.unlock();
  }
  static void after_fork_in_child() {
    ++forks;
    all().each(levels - 1, levels, [](ForkMutex& m) { new (&m.mutex_) std::mutex; });
    after_fork_in_parent();
  }

  std::mutex list;  // guards `first`
  ForkMutex* first[levels] = {};
};

ForkMutex::ForkMutex(Level level) : level_(level) {
  ForkMutexes& all = ForkMutexes::all();
  const std::lock_guard lock(all.list);
  ForkMutex*& first = all.first[static_cast<int>(level)];
  next_ = first;
  if (first) first->before_ = this;
  first = this;
}

ForkMutex::~ForkMutex() {
  ForkMutexes& all = ForkMutexes::all();
  const std::lock_guard lock(all.list);
  (before_ ? before_->next_ : all.first[static_cast<int>(level_)]) = next_;
  if (next_) next_->before_ = before_;
}

std::uint32_t fork_count() { return forks.load(std::memory_order_relaxed); }

}  // namespace weft
