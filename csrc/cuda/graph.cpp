// A recorded step as a CUDA graph: one launch for all of its kernels.
//
// The launches run once more under stream capture, which executes nothing and gives the graph. Kernels'
// workspaces come from a pool of the graph's own then, so that nobody else writes there when it runs. The
// stream is used for nothing else: what another thread gave to one that captures would become part of the
// graph.
#include <algorithm>

#include "cuda/runtime.h"

namespace weft::cuda {

thread_local GraphBuild* graph_build = nullptr;

namespace {

class CudaGraph final : public Graph {
 public:
  CudaGraph(DeviceState& device, cudaGraph_t graph, std::vector<std::unique_ptr<WatchedCheck>> checks)
      : device_(device), checks_(std::move(checks)) {
    const cudaError_t counted = cudaGraphGetNodes(graph, nullptr, &nodes_);
    const cudaError_t made = counted == cudaSuccess ? cudaGraphInstantiate(&executable_, graph, 0) : counted;
    cudaGraphDestroy(graph);
    check(made, "cannot make a graph of a capture");
    const std::lock_guard lock(device_.watched_mutex);
    for (const auto& watched : checks_) device_.watched.push_back(watched.get());
  }

  // While it runs it writes what it pinned, which is freed with `checks_`.
  ~CudaGraph() override {
    const bool usable = !forked();
    const bool done = usable && (!last_ || cudaStreamSynchronize(handle(*last_)) == cudaSuccess);
    if (usable) {
      stop_watching(done);
      if (cudaGraphExecDestroy(executable_) != cudaSuccess) cudaGetLastError();
    }
    if (!done) leave_all();  // the device is lost, and the next wait says so
  }

  void launch(Stream& stream) override {
    const OnDevice current(device_.index);
    last_ = &stream;
    for (const auto& watched : checks_) watched->last = &stream;
    check(cudaGraphLaunch(executable_, handle(stream)), "cannot launch a graph");
    launched(stream, "replay");
  }

  std::size_t nodes() const override { return nodes_; }

 private:
  // What its last launches found is told by the next wait that looks at findings.
  void stop_watching(bool done) {
    const std::lock_guard lock(device_.watched_mutex);
    for (const auto& own : checks_) {
      std::erase(device_.watched, own.get());
      if (done && own->finding->position != no_finding) device_.late.push_back({*own->finding, own->args});
    }
  }
  void leave_all() noexcept {
    for (const auto& own : checks_) own->finding.release();
  }

  DeviceState& device_;
  cudaGraphExec_t executable_ = nullptr;
  Stream* last_ = nullptr;  // CUDA runs the launches of one graph one after the other, on whatever streams
  std::size_t nodes_ = 0;
  std::vector<std::unique_ptr<WatchedCheck>> checks_;
};

Stream& capture_stream(DeviceState& device) {
  if (!device.capture_stream) {
    cudaStream_t made = nullptr;
    check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cannot make a stream");
    device.capture_stream = std::make_unique<Stream>(Device{Device::Kind::cuda, device.index}, made, true);
  }
  return *device.capture_stream;
}

// The stream captures for as long as it lives; finish() gives the graph.
class StreamCapture {
 public:
  explicit StreamCapture(cudaStream_t stream) : stream_(stream) {
    // Relaxed: a workspace may need memory that the pool does not have yet.
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "cannot begin to capture");
    open_ = true;
  }
  ~StreamCapture() {
    if (!open_) return;
    cudaGraph_t unfinished = nullptr;
    cudaStreamEndCapture(stream_, &unfinished);
    if (unfinished) cudaGraphDestroy(unfinished);
    cudaGetLastError();
  }
  cudaGraph_t finish() {
    open_ = false;
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "cannot end a capture");
    return graph;
  }

 private:
  cudaStream_t stream_;
  bool open_ = false;
};

}  // namespace

namespace {

std::unique_ptr<Graph> capture_launches(DeviceState& device, const std::function<void(Stream&)>& launches,
                                        Allocator& workspaces) {
  const std::lock_guard lock(captures());
  Stream& stream = capture_stream(device);
  GraphBuild build{workspaces, {}};
  struct Building {
    explicit Building(GraphBuild* build) { graph_build = build; }
    ~Building() { graph_build = nullptr; }
  };
  StreamCapture capture(handle(stream));
  {
    const Building building(&build);
    launches(stream);
  }
  return std::make_unique<CudaGraph>(device, capture.finish(), std::move(build.checks));
}

}  // namespace

std::unique_ptr<Graph> make_graph(int index, const std::function<void(Stream&)>& launches,
                                  Allocator& workspaces) {
  DeviceState& device = device_state(index);
  const OnDevice current(index);
  try {
    return capture_launches(device, launches, workspaces);
  } catch (const OutOfMemory&) {
    device.allocator->empty_cache();  // which a capture cannot
  }
  return capture_launches(device, launches, workspaces);
}

}  // namespace weft::cuda
