// The state of the CUDA backend that its own sources share: errors, devices, and what waits for a
// synchronization.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/cuda.h"
#include "core/error.h"
#include "core/stream.h"
#include "cuda/finding.h"
#include "cuda/launch.h"
#include "ops/check.h"

namespace weft::cuda {

// StateError: "cuda: <what>: out of memory (cudaErrorMemoryAllocation)".
void check(cudaError_t status, const char* what);

// The message for an error that a kernel left behind. op: null where it is not known.
std::string describe_failure(cudaError_t status, int device, const char* op);

// An Allocator of a device's memory.
std::unique_ptr<Allocator> make_allocator(int device);

// Pinned memory through which copies from and to other host memory go.
class Staging {
 public:
  ~Staging() = delete;  // lives as long as the process
  void to_device(cudaStream_t stream, char* to, const char* from, std::size_t bytes);
  void to_host(cudaStream_t stream, char* to, const char* from, std::size_t bytes);

 private:
  struct Chunk {
    char* data = nullptr;
    cudaEvent_t free = nullptr;  // recorded when the device is done with it
  };
  static constexpr std::size_t chunk_bytes = std::size_t{4} << 20;
  static constexpr int chunks = 4;
  Chunk& next();

  std::mutex mutex_;
  Chunk chunks_[chunks];
  int at_ = 0;
};

// A check inside of a graph, looked at after each synchronization for as long as the graph lives.
struct WatchedCheck {
  Finding* finding;
  CheckValuesArgs args;
};

struct DeviceState {
  int index = 0;
  Properties properties{};
  std::unique_ptr<Allocator> allocator;
  std::vector<std::unique_ptr<Stream>> streams;  // the first is everybody's; never destroyed
  unsigned next_stream = 0;
  cudaEvent_t order_event = nullptr;
  Staging* staging = nullptr;
  std::mutex mutex;                          // guards streams' creation, next_stream, order_event
  std::mutex capture_mutex;                  // held while launches are captured
  std::unique_ptr<Stream> capture_stream;    // on which; never destroyed
  std::mutex watched_mutex;                  // guards `watched`
  std::vector<const WatchedCheck*> watched;  // of all graphs alive
};

// The state of a device, which becomes the thread's current one. RuntimeError where it cannot be used.
DeviceState& use_device(int device);

// Throws what checks in graphs found on this device, the first one; after a synchronization.
void throw_findings(DeviceState& device);

// While a thread turns launches into a graph.
struct GraphBuild {
  Allocator& workspaces;
  std::vector<std::unique_ptr<WatchedCheck>> checks;
};
extern thread_local GraphBuild* graph_build;

}  // namespace weft::cuda
