// A mutex that a forked child never finds locked: the thread that held it stays behind in the parent.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>

namespace weft {

class ForkMutex {
 public:
  // A fork takes all of them first, level by level, and lets go of them in the parent and in the child; so a
  // thread that holds one takes another of a higher level only, and what it does meanwhile must not need
  // Python's lock: the thread that forks holds that while it waits. `draws` is the exception, under which
  // Python may run (a profile's hook) and which guards nothing that could be half done: a fork leaves it
  // alone, and the child finds it free.
  enum class Level { defaults, profile, pool, allocator, draws };

  explicit ForkMutex(Level level);
  ~ForkMutex();
  ForkMutex(const ForkMutex&) = delete;
  ForkMutex& operator=(const ForkMutex&) = delete;

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  friend struct ForkMutexes;
  std::mutex mutex_;
  const Level level_;
  ForkMutex *before_ = nullptr, *next_ = nullptr;  // in the list of its level
};

// How many forks lie between this process and the one that loaded the library.
std::uint32_t fork_count();

}  // namespace weft
