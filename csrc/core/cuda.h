// What the rest of the library asks of the CUDA backend. cuda/ implements it, and no_cuda/ in a build
// without it; nothing outside of these two folders is compiled differently.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft {

class Allocator;
class Stream;
struct Storage;
struct Backend;
struct CopyBlocksArgs;
struct FillBytesArgs;
struct WriteWordsArgs;

namespace cuda {

bool built();        // this build has the backend
bool emulated();     // ... and its kernels run in the emulator of tests/cuda_emulation
int device_count();  // 0 where there is no driver, no device, or no backend
// Why device_count() is 0; empty where it is not.
std::string unavailable_reason();

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  std::int64_t total_memory = 0, free_memory = 0, l2_bytes = 0;
};
struct Versions {
  int driver = 0, runtime = 0;     // 1000 major + 10 minor; 0: none
  std::vector<int> architectures;  // built for, 10 major + minor
};
Versions versions();

// All that follow: RuntimeError where that device cannot be used, also in a process forked from one that had
// used CUDA; the message says why.
DeviceInfo device_info(int device);
const Backend& backend(int device);
Allocator& allocator(int device);

// While it lives, `device` is the thread's current one for CUDA itself. Then the one from before is again: it
// may be another library's choice.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = -1;  // what to go back to; -1: nothing
};

// Streams. A device has one by default, which all threads share; a thread may make another one its own. They
// live as long as the process. Where arrays are used on several streams, they order these by themselves.
Stream& stream(int device);       // of this thread
Stream& new_stream(int device);   // out of a small number that are handed out in turn
void set_stream(Stream& stream);  // of this thread, on the stream's device
void synchronize(int device);     // waits for all streams of the device; throws what went wrong on them
void synchronize(Stream& stream);
bool finished(Stream& stream);
// After each operation: an error of its launch is thrown, with the operation's name. With WEFT_CUDA_SYNC=1 it
// waits for the operation, so that the name is right for errors of the kernels themselves too.
void launched(Stream& stream, const char* op);
// `later` runs on after what `earlier` has been given so far.
void order(Stream& earlier, Stream& later);
// The same for another library's stream of that device: a cudaStream_t, or 1 or 2 for CUDA's default ones.
void order_foreign(Stream& earlier, std::uintptr_t later);
// For destructors: waits for all that the stream has been given. An error is told by the next wait that can.
void finish(Stream& stream) noexcept;

class Event {
 public:
  virtual ~Event() = default;
  virtual void record(Stream& stream) = 0;
  virtual void wait(Stream& stream) = 0;  // the stream waits, not the host
  virtual void synchronize() = 0;
  virtual bool query() = 0;
  virtual double milliseconds_since(const Event& earlier) const = 0;
};
std::unique_ptr<Event> new_event(int device, bool timing);

// Keeps memory that another library has used on streams nobody here knows of until the whole device has been
// waited for: by synchronize(device), or before more memory is asked of the device.
void keep_until_idle(std::shared_ptr<Storage> storage) noexcept;

// Memory. Host memory that is not pinned goes through pinned staging, so `from` may change once to_device
// returned; pinned memory is read when the stream gets there.
void* allocate_pinned(std::size_t bytes);
void free_pinned(void* block) noexcept;  // nothing may be reading or writing it any more
void to_device(Stream& stream, void* to, const void* from, std::size_t bytes, bool pinned);
void to_host(Stream& stream, void* to, const void* from, std::size_t bytes);  // waits for it
void between(Stream& to_stream, void* to, Stream& from_stream, const void* from, std::size_t bytes);
void fill_bytes(Stream& stream, const FillBytesArgs& args);
void copy_blocks(Stream& stream, const CopyBlocksArgs& args);
void write_words(Stream& stream, const WriteWordsArgs& args);

// A sequence of launches as one CUDA graph.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void launch(Stream& stream) = 0;
  virtual std::size_t nodes() const = 0;
};
// Calls `launches` with a stream on which nothing is executed; kernels' workspaces come from `workspaces`.
std::unique_ptr<Graph> make_graph(int device, const std::function<void(Stream&)>& launches,
                                  Allocator& workspaces);

}  // namespace cuda
}  // namespace weft
