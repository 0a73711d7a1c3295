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
    const cudaError_t made = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(counted, "cannot read the graph of a capture");
    check(made, "cannot make a graph executable");
    const std::lock_guard lock(device_.watched_mutex);
    for (const auto& watched : checks_) device_.watched.push_back(watched.get());
  }

  ~CudaGraph() override {
    {
      const std::lock_guard lock(device_.watched_mutex);
      std::erase_if(device_.watched, [&](const WatchedCheck* w) {
        return std::any_of(checks_.begin(), checks_.end(), [&](const auto& own) { return own.get() == w; });
      });
    }
    if (executable_) cudaGraphExecDestroy(executable_);
    if (!checks_.empty()) cudaDeviceSynchronize();  // the graph may still be writing
    for (const auto& watched : checks_) free_pinned(watched->finding);
  }

  void launch(Stream& stream) override {
    use_device(device_.index);
    check(cudaGraphLaunch(executable_, handle(stream)), "cannot launch a graph");
    launched(stream, "replay");
  }

  std::size_t nodes() const override { return nodes_; }

 private:
  DeviceState& device_;
  cudaGraphExec_t executable_ = nullptr;
  std::size_t nodes_ = 0;
  std::vector<std::unique_ptr<WatchedCheck>> checks_;
};

Stream& capture_stream(DeviceState& device) {
  if (!device.capture_stream) {
    cudaStream_t made = nullptr;
    check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cannot make a stream");
    device.capture_stream = std::make_unique<Stream>(Device{Device::Kind::cuda, device.index}, made);
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

std::unique_ptr<Graph> make_graph(int index, const std::function<void(Stream&)>& launches,
                                  Allocator& workspaces) {
  DeviceState& device = use_device(index);
  const std::lock_guard lock(device.capture_mutex);
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

}  // namespace weft::cuda
