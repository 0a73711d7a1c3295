// Runs the blocks of a launch: the threads of one block in turn, each until it ends or waits.
#include "emulated_block.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <unordered_map>

#include "emulated_checker.h"
#include "emulated_scheduler.h"
#include "emulated_signals.h"
#include "emulated_state.h"
#include "emulated_symbols.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace weft::emulated {

Executor executor;
std::uint64_t current_block = 0;

namespace {

thread_local bool inside = false;

void fiber_main();
FiberPool& fibers() {
  static FiberPool* const pool = new FiberPool(fiber_main);  // never destroyed
  return *pool;
}

// splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

void read_environment() {
  const char* order = std::getenv("WEFT_EMULATED_ORDER");
  const std::string text = order ? order : "forward";
  executor.order.kind = text == "reverse"              ? Order::reverse
                        : text.rfind("random", 0) == 0 ? Order::random
                                                       : Order::forward;
  const std::size_t colon = text.find(':');
  executor.order.state =
      colon == std::string::npos ? 1 : std::strtoull(text.c_str() + colon + 1, nullptr, 10);
  const char* strict = std::getenv("WEFT_EMULATED_STRICT");
  executor.strict = strict != nullptr && std::string(strict) == "1";
}

void arrange_threads() {
  auto& sequence = executor.sequence;
  if (executor.order.kind == Order::random)
    for (unsigned i = executor.count - 1; i > 0; --i)
      std::swap(sequence[i], sequence[executor.order.draw() % (i + 1)]);
}

// The next thread that can run; -1 where the block is done or has a fault. When all of the round have run,
// the next round begins.
int next_thread() {
  Executor& e = executor;
  for (;;) {
    while (e.cursor < e.count) {
      const unsigned thread = e.sequence[e.cursor++];
      const State state = e.threads[thread].state;
      if (state == State::ready || state == State::unstarted) return static_cast<int>(thread);
    }
    if (e.live == 0) return -1;
    if (e.ready == 0 && !release_after_exits()) {
      std::string waiting;
      for (unsigned t = 0, listed = 0; t < e.count && listed < 4; ++t) {
        if (e.threads[t].state == State::ended) continue;
        const std::string text = describe(t);
        if (waiting.find(text.substr(text.find(" waits "))) != std::string::npos) continue;
        waiting += (listed++ ? "; " : "") + text;
      }
      const Thread& first = e.threads[0];
      fault(first.place, "deadlock: no thread of the block can go on: %s", waiting.c_str());
      return -1;
    }
    e.cursor = 0;
    arrange_threads();
  }
}

void make_current(unsigned thread) {
  executor.current = thread;
  threadIdx = executor.threads[thread].index;
  --executor.ready;
}

// What each fiber runs: threads that start, one after the other. A thread that waits keeps the fiber, and
// others start on another one.
void fiber_main() {
  entered_fiber(nullptr);
  Executor& e = executor;
  for (;;) {
    e.launch->invoke(e.launch->kernel, e.launch->arguments.get());
    Thread& thread = e.running();
    thread.state = State::ended;
    thread.copies.clear();
    thread.groups.clear();
    --e.live;
    Fiber* self = thread.fiber;
    const int next = next_thread();
    if (next >= 0 && e.threads[next].state == State::unstarted) {
      make_current(static_cast<unsigned>(next));
      e.running().fiber = self;
      continue;
    }
    fibers().give_back(self);
    Fiber* to = &e.host;
    if (next >= 0) {
      make_current(static_cast<unsigned>(next));
      to = e.running().fiber;
    }
    switch_fiber(self, to);
  }
}

void run_block(const KernelLaunch& launch, std::uint64_t number) {
  Executor& e = executor;
  blockIdx = {static_cast<unsigned>(number % launch.grid.x),
              static_cast<unsigned>(number / launch.grid.x % launch.grid.y),
              static_cast<unsigned>(number / launch.grid.x / launch.grid.y)};
  ++current_block;
  e.cursor = e.arrived = e.votes = 0;
  e.live = e.ready = e.count;
  for (unsigned t = 0; t < e.count; ++t) e.threads[t].state = State::unstarted;
  begin_shared_block();
  checker_begin_block();
  arrange_threads();
  make_current(static_cast<unsigned>(next_thread()));
  e.running().fiber = fibers().take();
  switch_fiber(&e.host, e.running().fiber);
  if (!e.faulted) check_shared_block();
}

void prepare_threads(const KernelLaunch& launch) {
  Executor& e = executor;
  e.count = launch.block.x * launch.block.y * launch.block.z;
  if (e.threads.size() < e.count) e.threads.resize(e.count);
  for (unsigned t = 0; t < e.count; ++t)
    e.threads[t].index = {t % launch.block.x, t / launch.block.x % launch.block.y,
                          t / launch.block.x / launch.block.y};
  e.sequence.resize(e.count);
  std::iota(e.sequence.begin(), e.sequence.end(), 0u);
  if (e.order.kind == Order::reverse)
    for (unsigned t = 0; t < e.count; ++t) e.sequence[t] = e.count - 1 - t;
}

// After a fault: threads lie about half done.
void abandon_threads() {
  fibers().reset();
  for (Thread& thread : executor.threads) {
    thread.copies.clear();
    thread.groups.clear();
    thread.operation = nullptr;
  }
}

// A device's arithmetic: denormal numbers are numbers, whatever this OS thread has set.
struct DefaultFloats {
#if defined(__x86_64__)
  unsigned before = __builtin_ia32_stmxcsr();
  DefaultFloats() { __builtin_ia32_ldmxcsr(0x1f80); }
  ~DefaultFloats() { __builtin_ia32_ldmxcsr(before); }
#endif
};

std::string last_fault;

std::string triple(const uint3& v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

}  // namespace

std::uint64_t Order::draw() { return mix(state += 0x9e3779b97f4a7c15u); }

bool in_kernel() { return inside; }

bool is_host_memory_of_kernels(const void* address) {
  return fibers().contains(address) || in_image(address) || is_pinned(address, 1);
}

bool run_launch(const KernelLaunch& launch) {
  Executor& e = executor;
  static const bool once = (read_environment(), true);
  static_cast<void>(once);
  e.launch = &launch;
  e.faulted = false;
  blockDim = launch.block;
  gridDim = launch.grid;
  prepare_threads(launch);
  prepare_shared(launch);
  checker_begin_launch(launch);
  const std::uint64_t blocks = std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  // In random order: start + i step, with a step that has no factor in common with the number of blocks.
  std::uint64_t start = 0, step = 1;
  if (e.order.kind == Order::reverse) start = blocks - 1, step = blocks - 1;
  if (e.order.kind == Order::random) {
    start = e.order.draw() % blocks;
    do step = 1 + e.order.draw() % blocks;
    while (std::gcd(step, blocks) != 1);
  }
  const CatchSignals signals;
  const DefaultFloats floats;
  inside = true;
  for (std::uint64_t i = 0, block = start; i < blocks && !e.faulted; ++i) {
    run_block(launch, block);
    block = static_cast<std::uint64_t>((static_cast<unsigned __int128>(block) + step) % blocks);
  }
  inside = false;
  if (e.faulted) abandon_threads();
  checker_end_launch();
  e.launch = nullptr;
  return !e.faulted;
}

void wait_in_fiber() {
  Executor& e = executor;
  Thread& self = e.running();
  const int next = next_thread();
  Thread& thread = e.threads[next];
  if (&thread == &self) return make_current(static_cast<unsigned>(next));
  const bool unstarted = thread.state == State::unstarted;
  make_current(static_cast<unsigned>(next));
  if (unstarted) thread.fiber = fibers().take();
  switch_fiber(self.fiber, thread.fiber);
}

// --- The block's barrier ---

namespace {

const char* name_of(Barrier kind) {
  switch (kind) {
    case Barrier::plain: return "__syncthreads()";
    case Barrier::count: return "__syncthreads_count()";
    case Barrier::all: return "__syncthreads_and()";
    case Barrier::any: return "__syncthreads_or()";
  }
  return "";
}

void complete_barrier(Barrier kind) {
  Executor& e = executor;
  e.barrier_result = kind == Barrier::all   ? e.votes == e.arrived
                     : kind == Barrier::any ? e.votes != 0
                                            : static_cast<int>(e.votes);
  for (unsigned t = 0; t < e.count; ++t)
    if (e.threads[t].state == State::at_barrier) e.wake(t);
  e.arrived = e.votes = 0;
  checker_block_barrier();
}

}  // namespace

int block_barrier(Barrier kind, bool predicate, Place place) {
  Executor& e = executor;
  if (!inside) return 0;
  Thread& self = e.running();
  self.place = place;
  self.barrier = kind;
  if (e.strict && e.live < e.count) fault(place, "%s after a thread of the block has ended", name_of(kind));
  if (e.arrived == 0) {
    e.first_arrived = e.current;
  } else if (const Thread& first = e.threads[e.first_arrived]; first.place.line != place.line ||
                                                               first.barrier != kind ||
                                                               std::string(first.place.file) != place.file) {
    fault(place, "threads of one block at different barriers: this one at %s, but %s", name_of(kind),
          describe(e.first_arrived).c_str());
  }
  self.state = State::at_barrier;
  e.votes += predicate;
  if (++e.arrived == e.live) complete_barrier(kind);
  wait_in_fiber();
  return e.barrier_result;
}

bool release_after_exits() {
  Executor& e = executor;
  if (e.arrived != 0 && e.arrived == e.live) {
    complete_barrier(e.threads[e.first_arrived].barrier);
    return true;
  }
  return release_warps_after_exits();
}

std::string describe(unsigned number) {
  const Thread& thread = executor.threads[number];
  std::string text = "thread " + triple(thread.index);
  if (thread.state == State::at_barrier)
    text += std::string(" waits at ") + name_of(thread.barrier) + ", " + thread.place.file + ":" +
            std::to_string(thread.place.line);
  else if (thread.state == State::in_warp_operation)
    text += std::string(" waits in ") + name_of(thread.operation->kind) + ", " +
            thread.operation->place.file + ":" + std::to_string(thread.operation->place.line);
  else
    text += " waits nowhere";
  return text;
}

// --- Faults ---

void report_fault(const std::string& text) {
  last_fault = text;
  std::fprintf(stderr, "CUDA emulator: %s\n", text.c_str());
  std::fflush(stderr);
}

void fault(Place place, const char* format, ...) {
  char text[2048];
  va_list list;
  va_start(list, format);
  std::vsnprintf(text, sizeof text, format, list);
  va_end(list);
  fault_at(place.file ? std::string(place.file) + ":" + std::to_string(place.line) : "", text);
}

std::string describe_launch() {
  const KernelLaunch& launch = *executor.launch;
  return "kernel " + symbol_name(launch.kernel) + " (launched at " + launch.place.file + ":" +
         std::to_string(launch.place.line) + "), block " + triple(blockIdx);
}

void fault_at(const std::string& at, const std::string& text) {
  const std::string where = at.empty() ? at : at + ": ";
  Executor& e = executor;
  if (!inside) return report_fault(where + text);
  report_fault(where + describe_launch() + ", thread " + triple(threadIdx) + ": " + text);
  e.faulted = true;
  switch_fiber(e.running().fiber, &e.host);
}

const char* emulated_fault() { return last_fault.c_str(); }
void forget_fault() { last_fault.clear(); }

}  // namespace weft::emulated

void __trap() {
  weft::emulated::fault({nullptr, 0}, "__trap()");
  std::abort();
}
long long clock64() {
  static long long now = 0;
  return now += 100;
}
