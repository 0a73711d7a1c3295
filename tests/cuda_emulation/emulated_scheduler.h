// The block under way and its threads: shared by emulated_block.cpp (scheduling, barriers),
// emulated_shared.cpp and emulated_warp.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulated_block.h"
#include "emulated_fibers.h"
#include "emulated_threads.h"

namespace weft::emulated {

enum class State : std::uint8_t { unstarted, ready, at_barrier, in_warp_operation, ended };

struct AsyncCopy {
  void* to;
  const void* from;
  int bytes;
  bool valid;
  Place place;
};

struct Thread {
  uint3 index;
  State state = State::unstarted;
  bool alone = false;
  Fiber* fiber = nullptr;              // its stack, while it waits
  WarpOperation* operation = nullptr;  // that it waits in
  Place place{nullptr, 0};             // of the barrier that it waits at
  Barrier barrier = Barrier::plain;
  std::vector<AsyncCopy> copies;    // not yet arrived, oldest first
  std::vector<std::size_t> groups;  // ends of the committed groups in `copies`
};

// The order in which blocks and threads run: WEFT_EMULATED_ORDER=forward|reverse|random:<seed>.
struct Order {
  enum Kind { forward, reverse, random } kind = forward;
  std::uint64_t state = 1;
  std::uint64_t draw();
};

struct Executor {
  const KernelLaunch* launch = nullptr;
  bool strict = false;  // WEFT_EMULATED_STRICT=1: a barrier after a thread of the block ended is a fault
  Order order;
  std::vector<Thread> threads;
  std::vector<unsigned> sequence;  // the order of the threads in this round
  unsigned cursor = 0, count = 0;
  unsigned live = 0;     // threads that haven't ended
  unsigned ready = 0;    // threads that could go on now or be started
  unsigned current = 0;  // the running thread
  bool faulted = false;
  Fiber host;

  // The block's barrier.
  unsigned arrived = 0, votes = 0, first_arrived = 0;
  int barrier_result = 0;

  Thread& running() { return threads[current]; }
  void wake(unsigned thread) {
    threads[thread].state = State::ready;
    ++ready;
  }
};
extern Executor executor;

// Leaves the running thread, whose state says what it waits for, until it is woken.
void wait_in_fiber();
// Lets threads go on that wait for threads which have ended. True where it woke any.
bool release_after_exits();
bool release_warps_after_exits();
std::string describe(unsigned thread);
const char* name_of(Warp kind);

// Shared memory (emulated_shared.cpp).
void prepare_shared(const KernelLaunch& launch);
void begin_shared_block();
void check_shared_block();
bool in_shared(const void* address, std::size_t bytes);

}  // namespace weft::emulated
