// Streams are queues. Nothing runs before somebody waits: a synchronize, another stream that waits for an
// event, a copy to or from pageable memory, or a queue that grew long. So a missing synchronize shows as a
// stale value.
#include <chrono>

#include "emulated_state.h"

namespace weft::emulated {
namespace {

constexpr std::size_t longest_queue = 4096;
constexpr int queries_until_progress = 16;

double now() {
  using clock = std::chrono::steady_clock;
  return std::chrono::duration<double, std::milli>(clock::now().time_since_epoch()).count();
}

// The default stream waits for the blocking streams, and they for it.
void follow_default_stream(Stream& stream) {
  Device& owner = *machine().devices[static_cast<std::size_t>(stream.device)];
  if (stream.is_default) {
    for (auto& other : owner.streams)
      if (other->blocking) run_until_empty(*other);
  } else if (stream.blocking) {
    run_until_empty(*owner.streams.front());
  }
}

cudaError_t create(cudaStream_t* stream, unsigned flags) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (stream == nullptr || flags > cudaStreamNonBlocking) return call.done(cudaErrorInvalidValue);
  auto made = std::make_unique<Stream>();
  made->device = current_device();
  made->blocking = flags == cudaStreamDefault;
  *stream = made.get();
  device().streams.push_back(std::move(made));
  return cudaSuccess;
}

// A query isn't a wait, but who asks again and again is let through, so that a loop of queries ends.
cudaError_t answer_query(Stream& stream) {
  if (++stream.patience < queries_until_progress) return cudaErrorNotReady;
  stream.patience = 0;
  run_one(stream);
  return cudaErrorNotReady;
}

}  // namespace

bool run_one(Stream& stream) {
  if (stream.queue.empty()) return false;
  Task task = std::move(stream.queue.front());
  stream.queue.pop_front();
  if (task.wait != nullptr) run_until_done(*task.wait);
  if (task.work && machine().sticky == cudaSuccess && !task.work()) set_fault();
  if (task.record != nullptr) {
    task.record->done = true;
    task.record->time = now();
  }
  return true;
}

void run_until_empty(Stream& stream) {
  while (run_one(stream)) {
  }
}

void run_until_done(const EventRecord& record) {
  while (!record.done && run_one(*record.stream)) {
  }
}

cudaError_t submit(Stream& stream, std::function<bool()> work) {
  if (stream.capture) {
    if (stream.capture->invalidated) return cudaErrorStreamCaptureInvalidated;
    stream.capture->nodes.push_back({std::move(work)});
    ++stream.captured;
    return cudaSuccess;
  }
  if (stream.is_default && forbid_in_capture() != cudaSuccess) return cudaErrorStreamCaptureImplicit;
  follow_default_stream(stream);
  stream.queue.push_back({std::move(work), nullptr, nullptr});
  if (stream.queue.size() > longest_queue) run_until_empty(stream);
  return cudaSuccess;
}

cudaError_t submit_launch(cudaStream_t handle, KernelLaunch launch) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (!is_stream(handle) || !is_of_current_device(handle)) return call.done(cudaErrorInvalidResourceHandle);
  if (machine().wrong_architecture) return call.done(cudaErrorNoKernelImageForDevice);
  const dim3 &grid = launch.grid, &block = launch.block;
  const bool empty =
      grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0;
  if (empty || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535 || block.x > 1024 || block.y > 1024 ||
      block.z > 64 || block.x * block.y * block.z > 1024 || launch.arguments_size > 4096)
    return call.done(cudaErrorInvalidConfiguration);
  const auto& limits = device().dynamic_limit;
  const auto found = limits.find(launch.kernel);
  const std::size_t dynamic_limit = found == limits.end() ? shared_default_limit : found->second;
  if (launch.shared > dynamic_limit) return call.done(cudaErrorInvalidValue);
  // Static shared memory counts too, but is known only when the kernel runs.
  launch.shared_limit = found == limits.end() ? shared_default_limit : shared_optin_limit;
  return call.done(submit(resolve(handle), [launch = std::move(launch)] { return run_launch(launch); }));
}

void synchronize(Device& device) {
  for (auto& stream : device.streams)
    if (!stream->capture) run_until_empty(*stream);
}

bool is_default_handle(cudaStream_t stream) {
  return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
}

bool is_of_current_device(cudaStream_t stream) {
  return is_default_handle(stream) || stream->device == current_device();
}

bool is_stream(cudaStream_t stream) {
  if (is_default_handle(stream)) return true;
  for (const auto& each : machine().devices)
    for (const auto& other : each->streams)
      if (other.get() == stream) return true;
  return false;
}

Stream& resolve(cudaStream_t stream) {
  return is_default_handle(stream) ? *device().streams.front() : *stream;
}

}  // namespace weft::emulated

using namespace weft::emulated;

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return create(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) { return create(stream, flags); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return create(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Call call;
  if (call.unusable()) return call.blocked();
  if (is_default_handle(stream) || !is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  run_until_empty(*stream);
  auto& streams = machine().devices[static_cast<std::size_t>(stream->device)]->streams;
  for (std::size_t i = 1; i < streams.size(); ++i)
    if (streams[i].get() == stream) {
      streams.erase(streams.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
  return call.done(machine().sticky);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (!is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  Stream& s = resolve(stream);
  if (s.capture) {
    s.capture->invalidated = true;
    return call.done(cudaErrorStreamCaptureUnsupported);
  }
  run_until_empty(s);
  return call.done(machine().sticky);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (!is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  Stream& s = resolve(stream);
  if (s.capture) {
    s.capture->invalidated = true;
    return call.done(cudaErrorStreamCaptureUnsupported);
  }
  return s.queue.empty() ? call.done(machine().sticky) : answer_query(s);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (event == nullptr || !is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  if (event->record == nullptr) return cudaSuccess;
  Stream& s = resolve(stream);
  if (const auto& capture = event->record->capture) {
    // A fork: the stream joins the capture; or a join: the capture knows the other stream's nodes.
    if (capture->origin == nullptr) return call.done(cudaErrorInvalidValue);  // it has ended
    if (s.capture && s.capture != capture) return call.done(cudaErrorStreamCaptureMerge);
    if (!s.capture) {
      s.capture = capture;
      s.captured = s.joined = 0;
      capture->joined.push_back(&s);
    }
    Stream& other = *event->record->stream;
    if (other.joined < event->record->position) other.joined = event->record->position;
    return cudaSuccess;
  }
  if (s.capture) {
    s.capture->invalidated = true;
    return call.done(cudaErrorStreamCaptureIsolation);
  }
  follow_default_stream(s);
  if (!event->record->done) s.queue.push_back({nullptr, nullptr, event->record});
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (!is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  return call.done(submit(resolve(stream), [=] { return function(data), true; }));
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (event == nullptr) return call.done(cudaErrorInvalidValue);
  *event = new Event{(flags & cudaEventDisableTiming) == 0, current_device(), nullptr};
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Call call;
  if (call.unusable()) return call.blocked();
  if (event == nullptr) return call.done(cudaErrorInvalidResourceHandle);
  delete event;
  return call.blocked();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (event == nullptr || !is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  Stream& s = resolve(stream);
  if (s.device != event->device) return call.done(cudaErrorInvalidResourceHandle);
  event->record = std::make_shared<EventRecord>();
  event->record->stream = &s;
  if (s.capture) {
    event->record->capture = s.capture;
    event->record->position = s.captured;
    return cudaSuccess;
  }
  follow_default_stream(s);
  s.queue.push_back({nullptr, event->record, nullptr});
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (event == nullptr) return call.done(cudaErrorInvalidResourceHandle);
  if (event->record == nullptr) return cudaSuccess;
  if (event->record->capture) return call.done(cudaErrorCapturedEvent);
  run_until_done(*event->record);
  return call.done(machine().sticky);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (event == nullptr) return call.done(cudaErrorInvalidResourceHandle);
  if (event->record == nullptr || event->record->done) return cudaSuccess;
  if (event->record->capture) return call.done(cudaErrorCapturedEvent);
  return answer_query(*event->record->stream);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (start == nullptr || end == nullptr || !start->timing || !end->timing || !start->record || !end->record)
    return call.done(cudaErrorInvalidResourceHandle);
  if (!start->record->done || !end->record->done) return cudaErrorNotReady;
  *milliseconds = static_cast<float>(end->record->time - start->record->time);
  return cudaSuccess;
}
