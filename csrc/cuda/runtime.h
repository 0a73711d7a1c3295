// The state of the CUDA backend that its own sources share: errors, devices, and what waits for a
// synchronization.
#pragma once
#include <atomic>
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

struct FreePinned {
  void operator()(Finding* finding) const noexcept { free_pinned(finding); }
};
using PinnedFinding = std::unique_ptr<Finding, FreePinned>;

// A check inside of a graph, looked at after each wait for the stream that the graph was last launched on,
// for as long as the graph lives.
struct WatchedCheck {
  PinnedFinding finding;
  CheckValuesArgs args;
  std::atomic<Stream*> last{nullptr};
};
// What a check found whose graph was gone before anybody waited.
struct LateFinding {
  Finding finding;
  CheckValuesArgs args;
};

// Streams and what lies here live as long as the process: arrays may outlive every static object.
struct DeviceState {
  int index = 0;
  Properties properties{};
  std::unique_ptr<Allocator> allocator;
  std::unique_ptr<Stream> default_stream;  // everybody's
  Staging* staging = nullptr;

  std::mutex mutex;  // guards what follows
  std::vector<std::unique_ptr<Stream>> more_streams;
  unsigned next_stream = 0;
  cudaEvent_t order_event = nullptr;

  std::unique_ptr<Stream> capture_stream;  // guarded by captures()

  std::mutex watched_mutex;            // guards what follows
  std::vector<WatchedCheck*> watched;  // of all graphs alive
  std::vector<LateFinding> late;

  std::mutex returned_mutex;                       // guards what follows
  std::vector<std::shared_ptr<Storage>> returned;  // by other libraries, which may still be using it
};

// The state of a device. RuntimeError where it cannot be used.
DeviceState& device_state(int device);

// All streams of the device but the default one and that of captures.
std::vector<Stream*> more_streams(DeviceState& device);

// Whether this process was forked from one that had used CUDA: no call into CUDA works then.
bool forked() noexcept;
// RuntimeError if so.
void refuse_after_fork();

// Who captures holds this lock, and who does what would spoil the capture: CUDA refuses to wait for a device
// one of whose streams is captured, in any mode of the capture, and invalidates it; memory is not freed
// meanwhile either. Nothing that is done under it waits for Python's lock.
std::recursive_mutex& captures();

// Waits for all streams of the device, of other libraries too, and throws what went wrong there. Then frees
// what other libraries had given back before; true where there was something.
bool wait_for_device(DeviceState& device);

// Throws what checks in graphs found on this device, the first one, after a wait for `stream`; null: for the
// whole device.
void throw_findings(DeviceState& device, const Stream* stream);

// While a thread turns launches into a graph.
struct GraphBuild {
  Allocator& workspaces;
  std::vector<std::unique_ptr<WatchedCheck>> checks;
};
extern thread_local GraphBuild* graph_build;

}  // namespace weft::cuda
