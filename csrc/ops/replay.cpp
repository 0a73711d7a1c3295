#include "ops/replay.h"

#include <pthread.h>

#include <algorithm>

#include "core/cuda.h"
#include "core/error.h"
#include "core/fork_mutex.h"
#include "core/memory.h"
#include "core/one_thread.h"
#include "core/stream.h"
#include "ops/elementwise.h"
#include "ops/launch_cost.h"

namespace weft {

namespace {

// A thread and the process that it belongs to, in one word: an address has 48 bits. Not 0.
constexpr int thread_bits = 48;
std::uint64_t this_thread() {
  return std::uint64_t{fork_count()} << thread_bits | static_cast<std::uint64_t>(pthread_self());
}

// Whether they are of one process; of one thread, which may have forked.
bool same_process(std::uint64_t a, std::uint64_t b) { return (a ^ b) >> thread_bits == 0; }
bool same_thread(std::uint64_t a, std::uint64_t b) { return (a ^ b) << (64 - thread_bits) == 0; }

// Whether all of a recording is so little work that other threads' help costs more than it brings: what one
// kernel leaves in its processor's caches, the next would read from another one's. About ten microseconds of
// arithmetic, and memory that a second-level cache holds.
bool is_small(const Recording& recording) {
  constexpr double most_flop = 4e6, most_bytes = 4e6;
  double flop = 0, bytes = 0;
  for (const Launch& launch : recording.launches()) {
    const LaunchCost cost = launch_cost(launch);
    flop += cost.flop;
    bytes += cost.bytes;
  }
  return flop <= most_flop && bytes <= most_bytes;
}

bool same_place(const Array& a, const Array& b) { return a.storage() == b.storage() && a.raw() == b.raw(); }

// Whether bytes alone are copied from one place of the device to another one.
bool is_block(const Array& to, const Array& from, const Device& device) {
  return device.kind != Device::Kind::cpu && to.device() == device && from.device() == device &&
         to.is_contiguous() && from.is_contiguous() && to.numel() > 0;
}

// Each of `from` into its place in `to`, of the same shape and dtype. Those that lie on the device by one
// launch, unless one of them lies in another one's place, so that the order matters.
void copy_all(const std::vector<Array>& to, const std::vector<Array>& from, const Device& device) {
  const bool apart = std::none_of(from.begin(), from.end(), [&](const Array& x) {
    return std::any_of(to.begin(), to.end(), [&](const Array& y) { return x.storage() == y.storage(); });
  });
  CopyBlocksArgs blocks{};
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (same_place(to[i], from[i])) continue;
    if (!apart || !is_block(to[i], from[i], device) || blocks.count == CopyBlocksArgs::most) {
      copy_into(to[i], from[i]);
      continue;
    }
    current_stream(device).use({&to[i], &from[i]});
    blocks.parts[blocks.count++] = {to[i].raw(), from[i].raw(), to[i].nbytes()};
  }
  if (blocks.count > 0) current_stream(device).submit("copy", &cuda::copy_blocks, blocks, {});
}

}  // namespace

void Turn::take() {
  const std::uint64_t own = this_thread();
  for (std::uint64_t holder = 0; !holder_.compare_exchange_strong(holder, own, std::memory_order_acquire);
       holder = 0) {
    // What that thread has begun nobody will end.
    check_state(same_process(holder, own),
                "capture: another thread was using it when this process was forked");
    holder_.wait(holder);
  }
}

void Turn::give() noexcept {
  holder_.store(0, std::memory_order_release);
  holder_.notify_one();
}

bool Turn::mine() const { return same_thread(holder_.load(std::memory_order_relaxed), this_thread()); }
bool Turn::another_has() const {
  const std::uint64_t holder = holder_.load(std::memory_order_relaxed);
  return holder != 0 && !same_thread(holder, this_thread());
}

void Replay::begin(Recording::Mode mode) {
  check_state(!Recording::current(), "capture: this thread is inside of another capture");
  turn.take();
  try {
    recording_.begin(mode);
  } catch (...) {
    turn.give();
    throw;
  }
}

void Replay::end() {
  check_state(Recording::current() == &recording_, "capture: not begun in this thread");
  recording_.end();
  turn.give();
}

std::vector<Array> Replay::call(const std::vector<Array>& given, bool copy_outputs) {
  check_state(!Recording::current(), "capture: a replay cannot be part of another capture");
  const WithTurn taken(turn);
  return replayed(given, copy_outputs);
}

std::vector<Array> Replay::replayed(const std::vector<Array>& given, bool copy_outputs) {
  check_value(given.size() == inputs_.size(), "capture: recorded with ", inputs_.size(),
              " arrays, called with ", given.size());
  if (!measured_) small_ = is_small(recording_), measured_ = true;
  const OneThread alone(small_);
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Array& to = inputs_[i];
    const Array& from = given[i];
    check_value(from.shape() == to.shape(), "capture: input ", i, " has shape ", from.shape(), " but ",
                to.shape(), " was recorded");
    check_type(from.dtype() == to.dtype(), "capture: input ", i, " is ", name(from.dtype()), " but ",
               name(to.dtype()), " was recorded");
  }
  copy_all(inputs_, given, recording_.device());
  // Somebody may still be reading the last replay's results on another stream, or will read these there.
  if (recording_.device().kind != Device::Kind::cpu)
    for (const Array& x : outputs_) current_stream(recording_.device()).use({&x});
  recording_.replay();
  if (!copy_outputs) return outputs_;
  std::vector<Array> results;
  for (const Array& x : outputs_) results.push_back(copy(x));
  return results;
}

}  // namespace weft
