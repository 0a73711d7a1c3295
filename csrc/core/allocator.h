// Where arrays get their memory. The CPU's: 64-byte aligned blocks, kept after use. A block of fresh pages
// costs a page fault and a clearing of every 4 KiB, several times what a memory-bound kernel needs to fill
// it, so freed blocks are kept in lists by size class and handed out again.
#pragma once
#include <cstddef>
#include <cstdint>

namespace weft {

struct MemoryStats {           // bytes, but for the last two
  std::int64_t allocated = 0;  // in use now, rounded up to size classes
  std::int64_t reserved = 0;   // in use plus kept for later
  std::int64_t peak = 0;       // the largest `allocated` since the start or reset_peak()
  std::int64_t hits = 0;       // allocations served from kept blocks
  std::int64_t misses = 0;     // allocations that went to the system
};

class Stream;

class Allocator {
 public:
  virtual ~Allocator() = default;
  virtual void* allocate(std::size_t bytes) = 0;  // nullptr for 0 bytes; MemoryError when full
  // They are called by destructors, so they throw nothing. The same `bytes` as asked for.
  virtual void deallocate(void* block, std::size_t bytes) noexcept = 0;
  // Where `last` is the stream of a device that used the block last: it is free for others once that is done.
  virtual void deallocate_after(Stream* /*last*/, void* block, std::size_t bytes) noexcept {
    deallocate(block, bytes);
  }
  virtual MemoryStats stats() const = 0;
  virtual void reset_peak() = 0;
  virtual void empty_cache() = 0;  // gives kept blocks back to the system
};

// Thread-safe, lives as long as the process.
Allocator& cpu_allocator();

// Four classes per power of two, from `unit` (a power of two) on: at most a quarter of a block is lost, and
// sizes that differ by a little (a last, smaller batch) share blocks.
std::size_t size_class(std::size_t bytes, std::size_t unit);

// With poison on, every block that is handed out is filled with 0xFF bytes first (NaN in floats,
// -1 in integers), so that a test sees an element that no kernel wrote.
void set_poison(bool on);
bool poison();

}  // namespace weft
