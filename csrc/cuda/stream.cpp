// Streams, events, and what went wrong on them.
#include <cstdlib>

#include "core/error.h"
#include "cuda/runtime.h"

namespace weft::cuda {

namespace {

constexpr std::size_t most_streams = 8;  // beside the default one
constexpr int most_devices = 64;
thread_local Stream* chosen[most_devices] = {};

// WEFT_CUDA_SYNC=1: wait after each operation.
bool wait_for_each() {
  static const bool wait = [] {
    const char* text = std::getenv("WEFT_CUDA_SYNC");
    return text && *text && std::string(text) != "0";
  }();
  return wait;
}

class CudaEvent final : public Event {
 public:
  CudaEvent(int device, bool timing) : device_(device) {
    const OnDevice current(device);
    check(cudaEventCreateWithFlags(&event_, timing ? cudaEventDefault : cudaEventDisableTiming),
          "cannot make an event");
  }
  ~CudaEvent() override {
    if (!forked() && cudaEventDestroy(event_) != cudaSuccess) cudaGetLastError();
  }
  void record(Stream& stream) override {
    check_state(stream.device().index == device_, "Event.record: the event is of cuda:", device_,
                " but the stream of ", stream.device());
    const OnDevice current(device_);
    check(cudaEventRecord(event_, handle(stream)), "cannot record an event");
  }
  void wait(Stream& stream) override {
    const OnDevice current(stream.device().index);
    check(cudaStreamWaitEvent(handle(stream), event_, 0), "cannot wait for an event");
  }
  void synchronize() override {
    refuse_after_fork();
    check(cudaEventSynchronize(event_), "cannot wait for an event");
  }
  bool query() override {
    refuse_after_fork();
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) return false;
    check(status, "cannot ask an event");
    return true;
  }
  double milliseconds_since(const Event& earlier) const override {
    refuse_after_fork();
    float time = 0;
    check(cudaEventElapsedTime(&time, static_cast<const CudaEvent&>(earlier).event_, event_),
          "cannot tell the time between two events");
    return time;
  }

 private:
  int device_;
  cudaEvent_t event_ = nullptr;
};

void throw_failure(cudaError_t status, int device, const char* op) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw StateError(describe_failure(status, device, op));
}

}  // namespace

cudaStream_t handle(const Stream& stream) { return static_cast<cudaStream_t>(stream.native()); }

Stream& stream(int device) {
  DeviceState& state = device_state(device);
  Stream* own = device < most_devices ? chosen[device] : nullptr;
  return own ? *own : *state.default_stream;
}

Stream& new_stream(int device) {
  DeviceState& state = device_state(device);
  const OnDevice current(device);
  const std::lock_guard lock(state.mutex);
  if (state.more_streams.size() < most_streams) {
    cudaStream_t made = nullptr;
    check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cannot make a stream");
    state.more_streams.push_back(std::make_unique<Stream>(Device{Device::Kind::cuda, device}, made));
    return *state.more_streams.back();
  }
  return *state.more_streams[state.next_stream++ % most_streams];
}

std::vector<Stream*> more_streams(DeviceState& device) {
  const std::lock_guard lock(device.mutex);
  std::vector<Stream*> found;
  for (const auto& each : device.more_streams) found.push_back(each.get());
  return found;
}

void set_stream(Stream& stream) {
  const int device = stream.device().index;
  check_state(device < most_devices, "cuda: at most ", most_devices, " devices");
  chosen[device] = &stream;
}

void synchronize(Stream& stream) {
  DeviceState& state = device_state(stream.device().index);
  throw_failure(cudaStreamSynchronize(handle(stream)), state.index, nullptr);
  throw_findings(state, &stream);
}

bool wait_for_device(DeviceState& device) {
  std::vector<std::shared_ptr<Storage>> returned;  // freed last, outside of all locks
  {
    const std::lock_guard lock(device.returned_mutex);
    returned.swap(device.returned);
  }
  const OnDevice current(device.index);
  const std::lock_guard lock(captures());
  throw_failure(cudaDeviceSynchronize(), device.index, nullptr);
  return !returned.empty();
}

void synchronize(int device) {
  DeviceState& state = device_state(device);
  wait_for_device(state);
  throw_findings(state, nullptr);
}

void finish(Stream& stream) noexcept {
  if (!forked()) cudaStreamSynchronize(handle(stream));
}

bool finished(Stream& stream) {
  refuse_after_fork();
  const cudaError_t status = cudaStreamQuery(handle(stream));
  if (status == cudaErrorNotReady) return false;
  throw_failure(status, stream.device().index, nullptr);
  return true;
}

void launched(Stream& stream, const char* op) {
  const int device = stream.device().index;
  throw_failure(cudaGetLastError(), device, op);
  // Inside of a capture nothing runs that one could wait for.
  if (wait_for_each() && !graph_build) throw_failure(cudaStreamSynchronize(handle(stream)), device, op);
}

namespace {

void order(Stream& earlier, cudaStream_t later) {
  DeviceState& state = device_state(earlier.device().index);
  const OnDevice current(state.index);
  const std::lock_guard lock(state.mutex);
  check(cudaEventRecord(state.order_event, handle(earlier)), "cannot record an event");
  check(cudaStreamWaitEvent(later, state.order_event, 0), "cannot order two streams");
}

}  // namespace

void order(Stream& earlier, Stream& later) { order(earlier, handle(later)); }

void order_foreign(Stream& earlier, std::uintptr_t later) {
  static_assert(sizeof(cudaStream_t) == sizeof later);
  order(earlier, reinterpret_cast<cudaStream_t>(later));
}

std::unique_ptr<Event> new_event(int device, bool timing) {
  return std::make_unique<CudaEvent>(device, timing);
}

}  // namespace weft::cuda
