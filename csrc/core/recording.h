// What a Stream keeps so that a sequence of launches can run again: the launches in order, each with a copy
// of its plain arguments, and the memory that these point into.
//
// Memory. While a thread records, its new arrays come from the recording's own pool. A block that is freed is
// handed out again, so the order of the program is the memory plan, and all addresses stay what they are for
// as long as the recording lives. Arrays from elsewhere (weights, inputs, constants) are kept alive.
//
// Reading. A value read on the host while recording would be frozen into the replay: host_read says so.
#pragma once
#include <cstddef>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/array.h"
#include "core/cuda.h"
#include "core/fork_mutex.h"

namespace weft {

class Stream;

// Blocks for the arrays of one recording, kept until the last of its users is gone.
class Pool final : public Allocator {
 public:
  explicit Pool(Device device) : device_(device) {}
  ~Pool() override;
  void* allocate(std::size_t bytes) override;
  void deallocate(void* block, std::size_t bytes) noexcept override;
  void deallocate_after(Stream* last, void* block, std::size_t bytes) noexcept override;
  // The stream that used a block before it was handed out now; null where there is none to wait for.
  Stream* last_user(void* block) const;
  MemoryStats stats() const override;  // reserved: the size of all blocks; peak: the largest sum in use
  void reset_peak() override;
  void empty_cache() override {}  // addresses are recorded: nothing is ever given back
  std::size_t blocks() const;

 private:
  Device device_;
  mutable ForkMutex mutex_{ForkMutex::Level::pool};  // arrays may be freed by another thread
  struct Block {
    std::size_t size;
    Stream* last = nullptr;
  };
  std::map<void*, Block> all_;
  std::multimap<std::size_t, void*> free_;
  MemoryStats stats_;
};

struct Launch {
  const char* name;
  void (*run)(Stream&, const Launch&);
  void (*kernel)();   // an entry of the backend's table, in its own type known to `run`
  std::size_t args;   // offset in the recording's arguments
  const void* data;   // the arguments; set when the recording ends
  std::size_t bytes;  // of the arrays it touches, each counted once
  int site;           // where in the program it was recorded (core/profile.h)
};

class Recording {
 public:
  enum class Mode { off, watch, record };

  // strict: host_read throws. Otherwise it notes the reason, and the recording is void but what runs goes on.
  Recording(Device device, bool strict)
      : device_(device), strict_(strict), pool_(std::make_shared<Pool>(device)) {}
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // The recording that this thread is in, or null. `watching` only looks for host reads.
  static Recording* current();
  static Recording* active();  // as current(), but null while watching

  // From begin to end everything that this thread submits is run and, in mode record, kept.
  // RuntimeError inside another recording.
  void begin(Mode mode);
  void end();
  void add(const Launch& launch, const void* args, std::size_t size,
           std::initializer_list<const Array*> arrays, Device device);
  void note_update(const std::shared_ptr<Storage>& storage);  // a version to be counted in each replay
  void void_because(const std::string& reason);               // keeps the first
  // RuntimeError unless something was recorded. On CUDA the launches become one graph.
  void replay();

  bool strict() const { return strict_; }
  bool complete() const { return complete_; }
  const std::string& reason() const { return reason_; }
  const std::vector<Launch>& launches() const { return launches_; }
  const std::shared_ptr<Pool>& pool() const { return pool_; }
  std::size_t graph_nodes() const { return graph_ ? graph_->nodes() : 0; }
  Device device() const { return device_; }

 private:
  Device device_;
  bool strict_;
  bool complete_ = false;
  Mode mode_ = Mode::off;
  std::string reason_;
  std::shared_ptr<Pool> pool_;
  std::vector<Launch> launches_;
  // Aligned for every struct of arguments.
  struct alignas(std::max_align_t) Unit {
    unsigned char bytes[sizeof(std::max_align_t)];
  };
  std::vector<Unit> arguments_;
  std::vector<std::shared_ptr<Storage>> kept_;     // memory from outside of the pool
  std::vector<std::shared_ptr<Storage>> updated_;  // whose versions a replay counts up
  // On CUDA: kernels' workspaces, apart from the pool, whose blocks are taken by arrays at some time of the
  // step.
  std::unique_ptr<Pool> workspaces_;
  std::unique_ptr<cuda::Graph> graph_;  // on CUDA, made at the first replay
};

// While it lives the thread is in no recording: for what is made once and stays.
class Unrecorded {
 public:
  Unrecorded();
  ~Unrecorded();
  Unrecorded(const Unrecorded&) = delete;
  Unrecorded& operator=(const Unrecorded&) = delete;

 private:
  Recording* recording_;
  bool active_;
};

// Sets the elements of a contiguous float64 array, on a device in the order of its stream, in a recording
// too, which does not keep it: for what the host changes between replays.
void write_now(const Array& out, const double* values, std::int64_t count);

// To be called where `op` looks at an array's elements on the host, or gives out their address for that.
void host_read(const char* op);

}  // namespace weft
