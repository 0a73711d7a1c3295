#include "core/recording.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "core/error.h"
#include "core/stream.h"

namespace weft {

namespace {

thread_local Recording* current_recording = nullptr;
thread_local bool recording_active = false;

constexpr std::size_t line = 64;

}  // namespace

Pool::~Pool() {
  for (const auto& [address, block] : all_) allocator(device_).deallocate(address, block.size);
}

void* Pool::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::size_t wanted = (bytes + line - 1) / line * line;
  const std::lock_guard lock(mutex_);
  // The smallest free block that is large enough, but none that would lose more than half of itself.
  const auto found = free_.lower_bound(wanted);
  void* block;
  if (found != free_.end() && found->first <= 2 * wanted) {
    block = found->second;
    free_.erase(found);
    ++stats_.hits;
  } else {
    block = allocator(device_).allocate(wanted);
    all_[block] = {wanted};
    stats_.reserved += static_cast<std::int64_t>(wanted);
    ++stats_.misses;
  }
  stats_.allocated += static_cast<std::int64_t>(all_[block].size);
  stats_.peak = std::max(stats_.peak, stats_.allocated);
  return block;
}

void Pool::deallocate(void* block, std::size_t bytes) noexcept { deallocate_after(nullptr, block, bytes); }

void Pool::deallocate_after(Stream* last, void* block, std::size_t) noexcept {
  if (!block) return;
  const std::lock_guard lock(mutex_);
  Block& freed = all_.at(block);
  freed.last = last;
  free_.emplace(freed.size, block);
  stats_.allocated -= static_cast<std::int64_t>(freed.size);
}

Stream* Pool::last_user(void* block) const {
  const std::lock_guard lock(mutex_);
  const auto found = all_.find(block);
  return found == all_.end() ? nullptr : found->second.last;
}

MemoryStats Pool::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void Pool::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak = stats_.allocated;
}

std::size_t Pool::blocks() const {
  const std::lock_guard lock(mutex_);
  return all_.size();
}

Recording::~Recording() {
  if (current_recording == this) end();
}

Recording* Recording::current() { return current_recording; }
Recording* Recording::active() { return recording_active ? current_recording : nullptr; }

void Recording::begin(Mode mode) {
  check_state(!current_recording, "capture: this thread is inside of another capture");
  check_state(!complete_, "capture: this one is already recorded");
  mode_ = mode;
  current_recording = this;
  recording_active = mode == Mode::record;
}

void Recording::end() {
  check_state(current_recording == this, "capture: not begun in this thread");
  current_recording = nullptr;
  recording_active = false;
  if (mode_ != Mode::record) return;
  mode_ = Mode::off;
  const auto* base = reinterpret_cast<const char*>(arguments_.data());
  for (Launch& launch : launches_) launch.data = base + launch.args;
  complete_ = reason_.empty();
}

void Recording::add(const Launch& launch, const void* args, std::size_t size,
                    std::initializer_list<const Array*> arrays, Device device) {
  if (device != device_) {
    const std::string reason = str(launch.name, ": runs on ", device, " inside of a capture on ", device_,
                                   "; move its tensors there, or compute it outside");
    check_state(!strict_, reason);
    return void_because(reason);
  }
  constexpr std::size_t unit = sizeof(Unit);
  launches_.push_back(launch);
  Launch& kept = launches_.back();
  kept.args = arguments_.size() * unit;
  kept.bytes = 0;
  arguments_.resize(arguments_.size() + (size + unit - 1) / unit);
  std::memcpy(reinterpret_cast<char*>(arguments_.data()) + kept.args, args, size);
  for (auto it = arrays.begin(); it != arrays.end(); ++it) {
    const Array& x = **it;
    const auto same = [&](const Array* y) { return y->storage() == x.storage() && y->raw() == x.raw(); };
    if (!x.defined() || std::any_of(arrays.begin(), it, same)) continue;
    kept.bytes += x.nbytes();
    if (x.storage()->pool != pool_.get() && std::find(kept_.begin(), kept_.end(), x.storage()) == kept_.end())
      kept_.push_back(x.storage());
  }
}

void Recording::note_update(const std::shared_ptr<Storage>& storage) {
  if (storage->pool != pool_.get() && std::find(updated_.begin(), updated_.end(), storage) == updated_.end())
    updated_.push_back(storage);
}

void Recording::void_because(const std::string& reason) {
  if (reason_.empty()) reason_ = reason;
}

void Recording::replay() {
  check_state(complete_, "capture: nothing is recorded");
  Stream& stream = current_stream(device_);
  const auto run = [&](Stream& on) {
    for (const Launch& launch : launches_) launch.run(on, launch);
  };
  // A profile wants to see each launch.
  if (device_.kind == Device::Kind::cpu || profiling.load(std::memory_order_relaxed)) {
    run(stream);
  } else {
    stream.use(kept_);
    if (!graph_) {
      workspaces_ = std::make_unique<Pool>(device_);
      graph_ = cuda::make_graph(device_.index, run, *workspaces_);
    }
    graph_->launch(stream);
  }
  for (const auto& storage : updated_) ++storage->version;
}

Unrecorded::Unrecorded() : recording_(current_recording), active_(recording_active) {
  current_recording = nullptr;
  recording_active = false;
}

Unrecorded::~Unrecorded() {
  current_recording = recording_;
  recording_active = active_;
}

void write_now(const Array& out, const double* values, std::int64_t count) {
  check_type(out.dtype() == DType::float64, "write_now: the array must be float64, got ", name(out.dtype()));
  check_value(out.is_contiguous() && out.numel() == count && out.storage()->writable, "write_now: ", count,
              " values for an array of shape ", out.shape(), ", which must be contiguous and writable");
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(double);
  if (out.device().kind == Device::Kind::cpu) {
    std::memcpy(out.raw(), values, bytes);
    return;
  }
  Stream& stream = current_stream(out.device());
  stream.use({&out});
  cuda::to_device(stream, out.raw(), values, bytes, false);
}

void host_read(const char* op) {
  Recording* recording = current_recording;
  if (!recording) return;
  const std::string reason =
      str(op,
          ": elements are read on the host inside of a capture, but a replay runs no Python and would not "
          "read them again; return the tensor from the captured function and read it after the call");
  check_state(!recording->strict(), reason);
  recording->void_because(reason);
}

}  // namespace weft
