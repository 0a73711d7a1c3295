// The emulated machine: devices with memory and streams, and the errors. Shared by the files of the runtime's
// API; everything is touched under one lock.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "emulated_block.h"
#include "emulated_runtime.h"

namespace weft::emulated {

// A device's memory: one range of addresses, from which blocks are cut with red zones around them.
class Arena {
 public:
  static constexpr std::size_t red_zone = 4096, alignment = 256;

  explicit Arena(std::size_t capacity);
  // Null where the capacity is used up. The block is NaN.
  void* allocate(std::size_t bytes);
  bool release(void* pointer);
  bool has(const void* address) const { return address >= base_ && address < base_ + reserved_; }
  // Whether all the bytes lie in one block.
  bool holds(const void* address, std::size_t bytes) const;
  // The block that begins nearest before the address, and its size; null where there is none.
  const char* nearest(const void* address, std::size_t* bytes) const;
  // False, with a report, where something was written between the blocks.
  bool check_red_zones();
  std::size_t capacity() const { return capacity_; }
  std::size_t used() const { return used_; }
  const char* base() const { return base_; }
  std::size_t reserved() const { return reserved_; }

 private:
  struct Block {
    std::size_t size, padded;
    bool freed;
  };
  bool check_red_zones(std::size_t offset, const Block& block);
  void forget_oldest_freed();

  char* base_ = nullptr;
  std::size_t capacity_, reserved_, used_ = 0, freed_bytes_ = 0;
  std::map<std::size_t, Block> blocks_;  // by offset
  std::deque<std::size_t> freed_;        // their place isn't used again at once
};

struct Capture;

// One cudaEventRecord.
struct EventRecord {
  Stream* stream = nullptr;
  bool done = false;
  double time = 0;
  std::shared_ptr<Capture> capture;  // where it was recorded in one
  std::size_t position = 0;          // nodes of its stream in the capture before it
};

struct Task {
  std::function<bool()> work;           // false: an asynchronous fault
  std::shared_ptr<EventRecord> record;  // to be marked as done
  std::shared_ptr<EventRecord> wait;    // to be waited for
};

struct Stream {
  int device = 0;
  bool blocking = false;  // waits for the default stream and it for this one
  bool is_default = false;
  std::deque<Task> queue;
  std::shared_ptr<Capture> capture;
  std::size_t captured = 0, joined = 0;  // nodes of this stream in the capture; of which the origin knows
  int patience = 0;                      // unsuccessful queries
};

struct Event {
  bool timing = true;
  int device = 0;
  std::shared_ptr<EventRecord> record;
};

struct GraphNode {
  std::function<bool()> work;
};
struct Graph {
  std::vector<GraphNode> nodes;
};
struct GraphExec {
  std::vector<GraphNode> nodes;
  std::shared_ptr<EventRecord> last;  // of the latest launch, which the next one waits for
};

struct Capture {
  Stream* origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::uint64_t thread = 0;
  bool invalidated = false;
  std::vector<GraphNode> nodes;
  std::vector<Stream*> joined;  // beside the origin
};

struct Device {
  explicit Device(std::size_t capacity) : memory(capacity) {}
  Arena memory;
  std::vector<std::unique_ptr<Stream>> streams;  // first the default stream
  std::unordered_map<const void*, std::size_t> dynamic_limit;
};

struct Machine {
  std::recursive_mutex lock;
  cudaError_t state = cudaSuccess;  // no driver, no device
  int driver_version = 13000;
  bool wrong_architecture = false;
  std::vector<std::unique_ptr<Device>> devices;
  std::map<const char*, std::size_t> pinned;
  std::deque<std::pair<char*, std::size_t>> freed_pinned;  // whose addresses aren't used again at once
  cudaError_t sticky = cudaSuccess;
  std::vector<std::shared_ptr<Capture>> captures;  // under way
};
Machine& machine();

constexpr std::size_t shared_default_limit = 48 << 10, shared_optin_limit = 227 << 10,
                      shared_of_processor = 228 << 10;
constexpr int processors = 132;

// Each function of the API: takes the lock, answers with the machine's own error first, and keeps the last
// one.
class Call {
 public:
  Call();
  ~Call();
  Call(const Call&) = delete;
  // What the call must return at once, if not cudaSuccess.
  cudaError_t blocked() const { return blocked_; }
  // There is nothing to be called: no driver, no device, or the process is a forked child.
  bool unusable() const;
  cudaError_t done(cudaError_t error);

 private:
  std::unique_lock<std::recursive_mutex> guard_;  // in a forked child another thread may have it for ever
  cudaError_t blocked_;
};

int current_device();
Device& device();
// Null, cudaStreamLegacy, cudaStreamPerThread: here they are all the current device's default stream.
bool is_default_handle(cudaStream_t stream);
// The stream itself, or the current device's default stream.
Stream& resolve(cudaStream_t stream);
bool is_stream(cudaStream_t stream);
// Whether the stream, if it is one, is of the current device, as launches want it.
bool is_of_current_device(cudaStream_t stream);

// cudaErrorStreamCaptureUnsupported, and the captures are spoiled, where a call isn't allowed while one is
// under way.
cudaError_t forbid_in_capture();
// The same for what is not allowed in any mode, by any thread, while a stream of the device is captured.
cudaError_t forbid_while_captured(int device);

// Puts a task behind the stream's others, or into its capture. `what`: needs the default stream's rule.
cudaError_t submit(Stream& stream, std::function<bool()> work);
void run_until_empty(Stream& stream);
void run_until_done(const EventRecord& record);
bool run_one(Stream& stream);
void synchronize(Device& device);
void set_fault();

bool is_pinned(const void* address, std::size_t bytes);
// The device whose memory has this address; -1 for the host's.
int device_of(const void* address);

}  // namespace weft::emulated
