// The caching allocator of a device's memory, pinned memory, and copies between host and device.
//
// cudaMalloc and cudaFree wait for the whole device, so blocks are kept by size class and handed out again. A
// block may be reused while the kernel that used it last still runs, because the next user's work comes after
// it in the same stream; where that is another stream, it first waits for the one that used the block last.
#include "core/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/allocator.h"
#include "core/error.h"
#include "cuda/runtime.h"

namespace weft::cuda {

namespace {

constexpr std::size_t unit = 512;  // what cudaMalloc aligns to, and more than any kernel asks for

// WEFT_CUDA_MEMCHECK=1: every block is asked of the device with exactly its bytes, and given back at once, so
// that compute-sanitizer or the emulator's checker knows where it ends and whether it was written. The
// statistics stay those of the cache.
bool exact_blocks() {
  static const bool exact = [] {
    const char* text = std::getenv("WEFT_CUDA_MEMCHECK");
    return text && *text && std::string(text) != "0";
  }();
  return exact;
}

// Gives a block back to the device, which waits for all that is queued there. False where it cannot be.
bool free_block(void* block) noexcept {
  const std::lock_guard lock(captures());
  const bool done = cudaFree(block) == cudaSuccess;
  if (!done) cudaGetLastError();
  return done;
}

class DeviceAllocator final : public Allocator {
 public:
  explicit DeviceAllocator(int device) : device_(device) {}

  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    Stream& user = stream(device_);
    const OnDevice current(device_);
    const std::size_t size = size_class(bytes, unit);
    Kept kept = take(size, user);
    if (!kept.found && take_back()) kept = take(size, user);
    if (!kept.found) kept.block = from_device(size, bytes);
    if (kept.found && exact_blocks()) kept.block = request(bytes, bytes);
    if (kept.last && kept.last != &user) order(*kept.last, user);
    if (poison() && !exact_blocks())
      check(cudaMemsetAsync(kept.block, 0xFF, bytes, handle(user)), "cannot set memory");
    return kept.block;
  }

  // Of a user that is not known: behind all streams.
  void deallocate(void* block, std::size_t bytes) noexcept override {
    if (!block || forked()) return;
    try {
      DeviceState& state = device_state(device_);
      Stream& first = *state.default_stream;
      for (Stream* each : more_streams(state)) order(*each, first);
      deallocate_after(&first, block, bytes);
    } catch (...) {
      // Most likely the device is lost. The block is too: nobody knows whether a stream still uses it.
    }
  }

  // In a forked child another thread of the parent may have held the lock: it would never be free.
  void deallocate_after(Stream* last, void* block, std::size_t bytes) noexcept override {
    if (!block || forked()) return;
    if (exact_blocks()) {
      free_block(block);
      block = nullptr;
    }
    const std::size_t size = size_class(bytes, unit);
    const std::lock_guard lock(mutex_);
    free_[size].push_back({block, last, true});
    stats_.allocated -= static_cast<std::int64_t>(size);
  }

  MemoryStats stats() const override {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() override {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.allocated;
  }

  // cudaFree waits for the device, so nothing still uses the blocks. The captures' lock comes first, as where
  // a capture allocates.
  void empty_cache() override {
    take_back();
    const OnDevice current(device_);
    const std::lock_guard outside(captures());
    const std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : free_) {
      const auto freed = std::erase_if(blocks, [](const Kept& kept) { return free_block(kept.block); });
      stats_.reserved -= static_cast<std::int64_t>(size * freed);
    }
  }

 private:
  struct Kept {
    void* block = nullptr;
    Stream* last = nullptr;
    bool found = false;
  };

  // The block that was given back last on the same stream, else the last one.
  Kept take(std::size_t size, const Stream& user) {
    const std::lock_guard lock(mutex_);
    const auto found = free_.find(size);
    if (found == free_.end() || found->second.empty()) return {};
    auto& blocks = found->second;
    auto at = std::find_if(blocks.rbegin(), blocks.rend(), [&](const Kept& k) { return k.last == &user; });
    if (at == blocks.rend()) at = blocks.rbegin();
    const Kept kept = *at;
    blocks.erase(std::next(at).base());
    count(size);
    ++stats_.hits;
    return kept;
  }

  // Waits for the device and frees what other libraries gave back. False where there was nothing.
  bool take_back() {
    DeviceState& state = device_state(device_);
    if (graph_build) return false;  // in a capture one cannot wait
    {
      const std::lock_guard lock(state.returned_mutex);
      if (state.returned.empty()) return false;
    }
    return wait_for_device(state);
  }

  void* request(std::size_t size, std::size_t asked) {
    void* block = nullptr;
    cudaError_t status = cudaMalloc(&block, size);
    // The kept blocks may be what fills the memory. While a capture is under way they can't be freed:
    // make_graph() does and tries again.
    if (status == cudaErrorMemoryAllocation && !graph_build) {
      cudaGetLastError();
      empty_cache();
      status = cudaMalloc(&block, size);
    }
    if (status == cudaErrorMemoryAllocation) refuse(asked);
    check(status, "cannot allocate memory");
    return block;
  }

  void* from_device(std::size_t size, std::size_t asked) {
    void* block = request(exact_blocks() ? asked : size, asked);
    const std::lock_guard lock(mutex_);
    count(size);
    stats_.reserved += static_cast<std::int64_t>(size);
    ++stats_.misses;
    return block;
  }

  [[noreturn]] void refuse(std::size_t asked) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    const MemoryStats now = stats();
    throw OutOfMemory(str("cuda:", device_, ": out of memory: asked for ", asked, " bytes; arrays hold ",
                          now.allocated, " bytes, kept for reuse ", now.reserved - now.allocated,
                          " bytes; the device has ", free, " of ", total, " bytes free"));
  }

  void count(std::size_t size) {
    stats_.allocated += static_cast<std::int64_t>(size);
    stats_.peak = std::max(stats_.peak, stats_.allocated);
  }

  int device_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<Kept>> free_;
  MemoryStats stats_;
};

// Waits for the stream; throws what its operations left behind.
void wait(cudaStream_t stream, DeviceState& state) {
  const cudaError_t status = cudaStreamSynchronize(stream);
  if (status != cudaSuccess) {
    cudaGetLastError();
    throw StateError(describe_failure(status, state.index, nullptr));
  }
}

}  // namespace

std::unique_ptr<Allocator> make_allocator(int device) { return std::make_unique<DeviceAllocator>(device); }

Workspace::Workspace(const Stream& stream, std::size_t bytes)
    : stream_(stream),
      source_(graph_build ? graph_build->workspaces : *device_state(stream.device().index).allocator),
      data_(source_.allocate(bytes)),
      bytes_(bytes) {}

Workspace::~Workspace() { source_.deallocate_after(const_cast<Stream*>(&stream_), data_, bytes_); }

void keep_until_idle(std::shared_ptr<Storage> storage) noexcept {
  if (forked()) return;
  DeviceState& state = device_state(storage->device.index);
  const std::lock_guard lock(state.returned_mutex);
  state.returned.push_back(std::move(storage));
}

void* allocate_pinned(std::size_t bytes) {
  refuse_after_fork();
  void* block = nullptr;
  check(cudaHostAlloc(&block, bytes > 0 ? bytes : 1, cudaHostAllocPortable), "cannot allocate pinned memory");
  return block;
}
void free_pinned(void* block) noexcept {
  if (forked()) return;
  const std::lock_guard lock(captures());
  if (cudaFreeHost(block) != cudaSuccess) cudaGetLastError();
}

Staging::Chunk& Staging::next() {
  Chunk& chunk = chunks_[at_];
  at_ = (at_ + 1) % chunks;
  if (!chunk.data) {
    chunk.data = static_cast<char*>(allocate_pinned(chunk_bytes));
    check(cudaEventCreateWithFlags(&chunk.free, cudaEventDisableTiming), "cannot make an event");
  } else {
    check(cudaEventSynchronize(chunk.free), "cannot wait for a copy");
  }
  return chunk;
}

void Staging::to_device(cudaStream_t stream, char* to, const char* from, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  for (std::size_t done = 0; done < bytes; done += chunk_bytes) {
    const std::size_t now = std::min(chunk_bytes, bytes - done);
    Chunk& chunk = next();
    std::memcpy(chunk.data, from + done, now);
    check(cudaMemcpyAsync(to + done, chunk.data, now, cudaMemcpyHostToDevice, stream),
          "cannot copy to the device");
    check(cudaEventRecord(chunk.free, stream), "cannot record an event");
  }
}

// One chunk is copied on by the host while the next one comes.
void Staging::to_host(cudaStream_t stream, char* to, const char* from, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  Chunk* pending = nullptr;
  std::size_t pending_at = 0, pending_bytes = 0;
  const auto finish = [&] {
    if (!pending) return;
    check(cudaEventSynchronize(pending->free), "cannot wait for a copy");
    std::memcpy(to + pending_at, pending->data, pending_bytes);
  };
  for (std::size_t done = 0; done < bytes; done += chunk_bytes) {
    const std::size_t now = std::min(chunk_bytes, bytes - done);
    Chunk& chunk = next();
    check(cudaMemcpyAsync(chunk.data, from + done, now, cudaMemcpyDeviceToHost, stream),
          "cannot copy to the host");
    check(cudaEventRecord(chunk.free, stream), "cannot record an event");
    finish();
    pending = &chunk, pending_at = done, pending_bytes = now;
  }
  finish();
}

void to_device(Stream& stream, void* to, const void* from, std::size_t bytes, bool pinned) {
  DeviceState& state = device_state(stream.device().index);
  const OnDevice current(state.index);
  if (pinned)
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, handle(stream)),
          "cannot copy to the device");
  else
    state.staging->to_device(handle(stream), static_cast<char*>(to), static_cast<const char*>(from), bytes);
}

void to_host(Stream& stream, void* to, const void* from, std::size_t bytes) {
  DeviceState& state = device_state(stream.device().index);
  const OnDevice current(state.index);
  wait(handle(stream), state);  // first, so that an error is told as an operation's, not as the copy's
  state.staging->to_host(handle(stream), static_cast<char*>(to), static_cast<const char*>(from), bytes);
  throw_findings(state, &stream);
}

void between(Stream& to_stream, void* to, Stream& from_stream, const void* from, std::size_t bytes) {
  if (&to_stream != &from_stream) order(from_stream, to_stream);
  const OnDevice current(to_stream.device().index);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, handle(to_stream)),
        "cannot copy between devices");
  if (&to_stream != &from_stream) order(to_stream, from_stream);
}

void fill_bytes(Stream& stream, const FillBytesArgs& args) {
  check(cudaMemsetAsync(args.data, args.value, args.bytes, handle(stream)), "cannot set memory");
}

}  // namespace weft::cuda
