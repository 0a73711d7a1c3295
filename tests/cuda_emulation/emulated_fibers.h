// Stacks that one OS thread switches between: each CUDA thread that waits at a barrier keeps one.
#pragma once

#include <cstddef>
#include <vector>

namespace weft::emulated {

struct Fiber {
  void* stack_pointer = nullptr;  // where it goes on; its registers lie on its stack
  void* fake_stack = nullptr;     // AddressSanitizer's
  char* low = nullptr;            // the stack's lowest byte, and its size
  std::size_t size = 0;
};

// Makes fibers that run main(), and keeps them for the next block. All stacks lie in one range of addresses.
class FiberPool {
 public:
  explicit FiberPool(void (*main)()) : main_(main) {}

  Fiber* take() {
    if (idle_.empty()) return make();
    Fiber* fiber = idle_.back();
    idle_.pop_back();
    return fiber;
  }
  // `fiber` must be about to switch away from the loop in main(), where it goes on when it is taken next.
  void give_back(Fiber* fiber) { idle_.push_back(fiber); }
  // All fibers begin anew, wherever they wait.
  void reset();

  bool contains(const void* address) const {
    const auto* p = static_cast<const char*>(address);
    return p >= region_ && p < region_ + region_size_;
  }

 private:
  Fiber* make();
  void start_at_main(Fiber* fiber);

  void (*main_)();
  std::vector<Fiber*> idle_, all_;
  char* region_ = nullptr;
  std::size_t region_size_ = 0;
};

// Leaves `from` and goes on in `to`; returns when something switches to `from` again.
void switch_fiber(Fiber* from, Fiber* to);
// To be called first in a new fiber, with nullptr.
void entered_fiber(Fiber* again);

}  // namespace weft::emulated
