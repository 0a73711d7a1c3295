#include "core/allocator.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "core/error.h"
#include "core/fork_mutex.h"

namespace weft {

namespace {

constexpr std::size_t alignment = 64;
std::atomic<bool> poisoned{false};

std::size_t size_class(std::size_t bytes) { return weft::size_class(bytes, alignment); }

// Bytes of the machine's memory: all (_SC_PHYS_PAGES) or those that nobody uses.
std::int64_t physical(int pages) { return std::int64_t{sysconf(pages)} * sysconf(_SC_PAGESIZE); }

// Numbers the threads, from 1 on.
std::uint32_t this_thread() {
  static std::atomic<std::uint32_t> count{0};
  thread_local const std::uint32_t number = ++count;
  return number;
}

// A block that is kept, and the thread that gave it back: in whose cache it may still be.
struct Kept {
  void* block;
  std::uint32_t thread;
};

class CachingAllocator final : public Allocator {
 public:
  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    if (bytes > std::size_t{1} << 62) refuse(bytes);
    const std::size_t size = size_class(bytes);
    void* block = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (auto kept = free_.find(size); kept != free_.end() && !kept->second.empty()) {
        block = take(kept->second);
        count(size);
        ++stats_.hits;
      }
    }
    if (!block) block = from_system(size);
    if (poisoned.load(std::memory_order_relaxed)) std::memset(block, 0xFF, bytes);
    return block;
  }

  void deallocate(void* block, std::size_t bytes) noexcept override {
    if (!block) return;
    const std::size_t size = size_class(bytes);
    const std::uint32_t thread = this_thread();
    const std::lock_guard lock(mutex_);
    free_[size].push_back({block, thread});
    stats_.allocated -= static_cast<std::int64_t>(size);
  }

  MemoryStats stats() const override {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() override {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.allocated;
  }

  void empty_cache() override {
    const std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : free_) {
      for (const Kept& kept : blocks) std::free(kept.block);
      stats_.reserved -= static_cast<std::int64_t>(size * blocks.size());
      blocks.clear();
    }
  }

 private:
  // The block that this thread gave back last, else the last one: memory that another core's cache holds
  // costs more than the work of a small kernel.
  static void* take(std::vector<Kept>& blocks) {
    constexpr std::size_t most = 16;  // looked at
    const std::uint32_t thread = this_thread();
    std::size_t at = blocks.size() - 1;
    for (std::size_t i = blocks.size(); i > 0 && blocks.size() - i < most; --i)
      if (blocks[i - 1].thread == thread) {
        at = i - 1;
        break;
      }
    void* const block = blocks[at].block;
    blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(at));
    return block;
  }

  void* from_system(std::size_t size) {
    void* block = std::aligned_alloc(alignment, size);
    if (!block) {  // the kept blocks may be what fills the memory
      empty_cache();
      block = std::aligned_alloc(alignment, size);
      if (!block) refuse(size);
    }
    const std::lock_guard lock(mutex_);
    count(size);
    stats_.reserved += static_cast<std::int64_t>(size);
    ++stats_.misses;
    return block;
  }

  [[noreturn]] void refuse(std::size_t bytes) const {
    throw OutOfMemory(str("memory: the system gives no ", bytes, " bytes more; arrays hold ",
                          stats().allocated, ", of the machine's ", physical(_SC_PHYS_PAGES), " bytes ",
                          physical(_SC_AVPHYS_PAGES), " are free"));
  }

  void count(std::size_t size) {
    stats_.allocated += static_cast<std::int64_t>(size);
    stats_.peak = std::max(stats_.peak, stats_.allocated);
  }

  mutable ForkMutex mutex_{ForkMutex::Level::allocator};
  std::map<std::size_t, std::vector<Kept>> free_;
  MemoryStats stats_;
};

}  // namespace

std::size_t size_class(std::size_t bytes, std::size_t unit) {
  if (bytes <= 4 * unit) return (bytes + unit - 1) / unit * unit;
  const std::size_t step = std::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

Allocator& cpu_allocator() {
  // Never destroyed: arrays may outlive every static object at the interpreter's exit.
  static auto* allocator = new CachingAllocator;
  return *allocator;
}

void set_poison(bool on) { poisoned = on; }
bool poison() { return poisoned.load(std::memory_order_relaxed); }

}  // namespace weft
