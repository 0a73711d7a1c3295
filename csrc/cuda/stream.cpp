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
    use_device(device);
    check(cudaEventCreateWithFlags(&event_, timing ? cudaEventDefault : cudaEventDisableTiming),
          "cannot make an event");
  }
  ~CudaEvent() override { cudaEventDestroy(event_); }
  void record(Stream& stream) override {
    check_state(stream.device().index == device_, "Event.record: the event is of cuda:", device_,
                " but the stream of ", stream.device());
    use_device(device_);
    check(cudaEventRecord(event_, handle(stream)), "cannot record an event");
  }
  void wait(Stream& stream) override {
    use_device(stream.device().index);
    check(cudaStreamWaitEvent(handle(stream), event_, 0), "cannot wait for an event");
  }
  void synchronize() override { check(cudaEventSynchronize(event_), "cannot wait for an event"); }
  bool query() override {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) return false;
    check(status, "cannot ask an event");
    return true;
  }
  double milliseconds_since(const Event& earlier) const override {
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
  DeviceState& state = use_device(device);
  Stream* own = device < most_devices ? chosen[device] : nullptr;
  return own ? *own : *state.streams.front();
}

Stream& new_stream(int device) {
  DeviceState& state = use_device(device);
  const std::lock_guard lock(state.mutex);
  if (state.streams.size() <= most_streams) {
    cudaStream_t made = nullptr;
    check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cannot make a stream");
    state.streams.push_back(std::make_unique<Stream>(Device{Device::Kind::cuda, device}, made));
    return *state.streams.back();
  }
  return *state.streams[1 + state.next_stream++ % most_streams];
}

void set_stream(Stream& stream) {
  const int device = stream.device().index;
  check_state(device < most_devices, "cuda: at most ", most_devices, " devices");
  chosen[device] = &stream;
}

void synchronize(Stream& stream) {
  DeviceState& state = use_device(stream.device().index);
  throw_failure(cudaStreamSynchronize(handle(stream)), state.index, nullptr);
  throw_findings(state);
}

void synchronize(int device) {
  DeviceState& state = use_device(device);
  throw_failure(cudaDeviceSynchronize(), device, nullptr);
  throw_findings(state);
}

bool finished(Stream& stream) {
  const cudaError_t status = cudaStreamQuery(handle(stream));
  if (status == cudaErrorNotReady) return false;
  throw_failure(status, stream.device().index, nullptr);
  return true;
}

void launched(Stream& stream, const char* op) {
  const int device = stream.device().index;
  throw_failure(cudaGetLastError(), device, op);
  if (wait_for_each() && !graph_build) throw_failure(cudaStreamSynchronize(handle(stream)), device, op);
}

void order(Stream& earlier, Stream& later) {
  DeviceState& state = use_device(earlier.device().index);
  {
    const std::lock_guard lock(state.mutex);
    check(cudaEventRecord(state.order_event, handle(earlier)), "cannot record an event");
    use_device(later.device().index);
    check(cudaStreamWaitEvent(handle(later), state.order_event, 0), "cannot order two streams");
  }
}

std::unique_ptr<Event> new_event(int device, bool timing) {
  return std::make_unique<CudaEvent>(device, timing);
}

}  // namespace weft::cuda
