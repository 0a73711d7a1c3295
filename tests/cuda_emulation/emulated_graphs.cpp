// Captures and graphs. A graph's nodes keep the order in which they were submitted, which every dependence
// agrees with.
#include <algorithm>
#include <thread>

#include "emulated_state.h"

namespace weft::emulated {
namespace {

std::uint64_t this_thread() { return std::hash<std::thread::id>()(std::this_thread::get_id()); }
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

void finish(Capture& capture) {
  for (Stream* stream : capture.joined) stream->capture.reset();
  if (capture.origin != nullptr) capture.origin->capture.reset();
  capture.origin = nullptr;
  auto& all = machine().captures;
  all.erase(std::remove_if(all.begin(), all.end(), [&](const auto& c) { return c.get() == &capture; }),
            all.end());
}

}  // namespace

cudaError_t forbid_in_capture() {
  cudaError_t error = cudaSuccess;
  for (const auto& capture : machine().captures) {
    // A capture in the mode "global" forbids to every thread, one of its own thread to that one.
    const bool mine = capture->thread == this_thread();
    const bool forbidden =
        thread_mode != cudaStreamCaptureModeRelaxed &&
        ((mine && capture->mode != cudaStreamCaptureModeRelaxed) ||
         (capture->mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal));
    if (!forbidden) continue;
    capture->invalidated = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

cudaError_t forbid_while_captured(int device) {
  cudaError_t error = cudaSuccess;
  for (const auto& capture : machine().captures) {
    if (capture->origin->device != device) continue;
    capture->invalidated = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

}  // namespace weft::emulated

using namespace weft::emulated;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (!is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  if (is_default_handle(stream)) return call.done(cudaErrorStreamCaptureUnsupported);  // it can't
  if (stream->capture) return call.done(cudaErrorIllegalState);
  auto capture = std::make_shared<Capture>();
  capture->origin = stream;
  capture->mode = mode;
  capture->thread = this_thread();
  stream->capture = capture;
  stream->captured = 0;
  machine().captures.push_back(std::move(capture));
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (is_default_handle(stream) || graph == nullptr || !is_stream(stream))
    return call.done(cudaErrorInvalidValue);
  *graph = nullptr;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture == nullptr) return call.done(cudaErrorIllegalState);
  if (capture->origin != stream) return call.done(cudaErrorStreamCaptureUnmatched);
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != this_thread())
    return call.done(cudaErrorStreamCaptureWrongThread);
  const bool unjoined = std::any_of(capture->joined.begin(), capture->joined.end(),
                                    [](const Stream* other) { return other->joined < other->captured; });
  finish(*capture);
  if (capture->invalidated) return call.done(cudaErrorStreamCaptureInvalidated);
  if (unjoined) return call.done(cudaErrorStreamCaptureUnjoined);
  *graph = new Graph{std::move(capture->nodes)};
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (status == nullptr || !is_stream(stream)) return call.done(cudaErrorInvalidValue);
  const auto& capture = resolve(stream).capture;
  *status = capture == nullptr     ? cudaStreamCaptureStatusNone
            : capture->invalidated ? cudaStreamCaptureStatusInvalidated
                                   : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (exec == nullptr || graph == nullptr) return call.done(cudaErrorInvalidValue);
  *exec = new GraphExec{graph->nodes, nullptr};
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  Call call;
  if (call.blocked()) return call.blocked();
  return call.done(exec != nullptr && is_stream(stream) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (exec == nullptr || !is_stream(stream)) return call.done(cudaErrorInvalidValue);
  if (!is_of_current_device(stream)) return call.done(cudaErrorInvalidResourceHandle);
  Stream& s = resolve(stream);
  // Launches of one graph run one after the other, on whatever streams.
  if (exec->last && !exec->last->done) s.queue.push_back({nullptr, nullptr, exec->last});
  // The nodes are kept: the graph may be destroyed while it is under way.
  const cudaError_t error = submit(s, [nodes = exec->nodes] {
    return std::all_of(nodes.begin(), nodes.end(), [](const GraphNode& node) { return node.work(); });
  });
  if (error != cudaSuccess) return call.done(error);
  exec->last = std::make_shared<EventRecord>();
  exec->last->stream = &s;
  s.queue.push_back({nullptr, exec->last, nullptr});
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (graph == nullptr || count == nullptr) return call.done(cudaErrorInvalidValue);
  if (nodes == nullptr) return *count = graph->nodes.size(), cudaSuccess;
  for (std::size_t i = 0; i < *count; ++i) nodes[i] = i < graph->nodes.size() ? &graph->nodes[i] : nullptr;
  if (*count > graph->nodes.size()) *count = graph->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  Call call;
  if (call.unusable()) return call.blocked();
  if (graph == nullptr) return call.done(cudaErrorInvalidValue);
  delete graph;
  return call.blocked();
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  Call call;
  if (call.unusable()) return call.blocked();
  if (exec == nullptr) return call.done(cudaErrorInvalidValue);
  delete exec;
  return call.blocked();
}
