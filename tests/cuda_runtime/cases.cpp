// The host side of the CUDA backend under what other threads and other libraries do meanwhile. A program of
// all cases, on the emulator and under ThreadSanitizer, runs the one that it is given by name and prints what
// was wrong; tests/cuda/test_cuda_host.py compiles it and knows what is right. No kernel is launched: copies and
// fills are the work that is queued.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>

#include "core/allocator.h"
#include "core/array.h"
#include "core/memory.h"
#include "core/recording.h"
#include "core/stream.h"
#include "cuda/runtime.h"

using namespace weft;

namespace weft::cuda {
void check_values(Stream& stream, const CheckValuesArgs& args);
}

namespace {

bool all_right = true;
void expect(bool right, const char* what) {
  if (right) return;
  std::printf("wrong: %s\n", what);
  all_right = false;
}

// The message of the exception that it throws; empty without one.
std::string error_of(const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

[[noreturn]] void fail_found(const CheckValuesArgs&, std::int64_t position, std::int64_t, double) {
  throw ValueError(str("found at ", position));
}
CheckValuesArgs check_of_one() {
  CheckValuesArgs args{};
  args.count = 1;
  args.fail = &fail_found;
  return args;
}

// A graph of one check, which finds something at 0 (find_bad_value in doubles.cpp).
std::unique_ptr<cuda::Graph> graph_with_finding(Pool& workspaces) {
  return cuda::make_graph(
      0,
      [](Stream& stream) {
        const CheckValuesArgs args = check_of_one();
        cuda::check_values(stream, args);
      },
      workspaces);
}

// Runs `meanwhile` in another thread while this one captures; what the capture throws.
std::string capture_with(const std::function<void()>& meanwhile) {
  Pool workspaces(Device{Device::Kind::cuda, 0});
  std::thread other;
  const std::string error = error_of([&] {
    cuda::make_graph(
        0,
        [&](Stream& stream) {
          const cuda::Workspace memory(stream, 64);
          other = std::thread(meanwhile);
          std::this_thread::sleep_for(std::chrono::milliseconds(50));  // it waits for the capture, if it may
          cudaMemsetAsync(memory.data<char>(), 0, 64, cuda::handle(stream));
        },
        workspaces);
  });
  other.join();
  return error;
}

void lose_device() {
  void* pinned = cuda::allocate_pinned(64);
  void* const there = cuda::allocator(0).allocate(64);
  cuda::to_device(cuda::stream(0), there, pinned, 64, true);
  cudaFreeHost(pinned);  // the copy, which has not begun, is a fault
  cudaStreamSynchronize(cuda::handle(cuda::stream(0)));
}

// --- the cases ---

void streams_made_by_several_threads() {
  cuda::DeviceState& device = cuda::device_state(0);
  std::atomic<bool> begun{false}, done{false};
  // Relaxed: the flags themselves must not bring the accesses into an order.
  std::thread reader([&] {
    while (!done.load(std::memory_order_relaxed)) {
      for (Stream* each : cuda::more_streams(device)) expect(each->device().index == 0, "a stream");
      begun.store(true, std::memory_order_relaxed);
    }
  });
  while (!begun.load(std::memory_order_relaxed)) std::this_thread::yield();
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < 10; ++i) {
        Stream& own = cuda::new_stream(0);
        cuda::order(cuda::stream(0), own);
        void* const block = cuda::allocator(0).allocate(1024);
        cuda::allocator(0).deallocate(block, 1024);  // behind all streams that there are
      }
    });
  for (std::thread& thread : threads) thread.join();
  done = true;
  reader.join();
  cuda::synchronize(0);
}

void one_array_on_streams_of_several_threads() {
  auto storage = std::make_shared<Storage>();
  storage->device = {Device::Kind::cuda, 0};
  const std::vector<std::shared_ptr<Storage>> used{storage};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      Stream& own = cuda::new_stream(0);
      for (int i = 0; i < 20; ++i) own.use(used);
    });
  for (std::thread& thread : threads) thread.join();
  cuda::synchronize(0);
}

void synchronize_during_a_capture() {
  expect(capture_with([] { cuda::synchronize(0); }).empty(), "the capture was not left alone");
}

// One begins to profile, which waits for each operation, while another captures.
void a_profile_begins_during_a_capture() {
  Pool workspaces(Device{Device::Kind::cuda, 0});
  void* const memory = cuda::allocator(0).allocate(64);
  const std::string error = error_of([&] {
    cuda::make_graph(
        0,
        [&](Stream& stream) {
          profiling = true;
          stream.submit("fill", &cuda::fill_bytes, FillBytesArgs{memory, 64, 0}, {});
        },
        workspaces);
  });
  profiling = false;
  expect(error.empty(), "the capture was not left alone");
}

void free_during_a_capture() {
  void* const block = cuda::allocator(0).allocate(4096);
  cuda::allocator(0).deallocate(block, 4096);
  void* const pinned = cuda::allocate_pinned(16);
  void* const used = cuda::allocator(0).allocate(64);
  const std::string error = capture_with([&] {
    cuda::allocator(0).deallocate_after(&cuda::stream(0), used, 64);  // with exact blocks it is freed at once
    cuda::allocator(0).empty_cache();
    cuda::free_pinned(pinned);
  });
  expect(error.empty(), "the capture was not left alone");
  expect(cuda::allocator(0).stats().reserved < 4096, "the kept memory was given back");
}

void a_graph_goes_during_a_capture() {
  Pool workspaces(Device{Device::Kind::cuda, 0});
  auto graph = graph_with_finding(workspaces);
  graph->launch(cuda::stream(0));
  expect(capture_with([&] { graph.reset(); }).empty(), "the capture was not left alone");
  expect(error_of([] { cuda::synchronize(0); }) == "found at 0", "what it found is told");
}

// In 1 MiB of memory: what the cache keeps leaves no room for a capture's workspace, and cannot be freed
// within.
void a_capture_short_of_memory() {
  void* const kept = cuda::allocator(0).allocate(700 << 10);
  cuda::allocator(0).deallocate(kept, 700 << 10);
  Pool workspaces(Device{Device::Kind::cuda, 0});
  const auto capture = [&](std::size_t bytes) {
    return error_of([&] {
      cuda::make_graph(
          0,
          [&](Stream& stream) {
            const cuda::Workspace memory(stream, bytes);
            cudaMemsetAsync(memory.data<char>(), 0, bytes, cuda::handle(stream));
          },
          workspaces);
    });
  };
  expect(capture(600 << 10).empty(), "it has room once the cache is empty");
  expect(capture(4 << 20).find("cuda:0: out of memory: asked for 4194304 bytes") == 0,
         "too much is an error");
}

// In a machine of two devices.
void another_library_changes_the_device() {
  Stream& stream = cuda::stream(0);
  const auto current = [] {
    int device = -1;
    cudaGetDevice(&device);
    return device;
  };
  const auto owner = [](const void* memory) {
    cudaPointerAttributes about{};
    cudaPointerGetAttributes(&about, memory);
    return about.device;
  };
  cudaSetDevice(1);
  const Array array = Array::constant({256}, DType::uint8, Device{Device::Kind::cuda, 0});
  void* const memory = array.raw();
  expect(owner(memory) == 0, "memory of cuda:0");
  expect(cuda::device_info(1).total_memory > 0 && current() == 1, "the other library's choice stays");
  fill_bytes(array, 1);
  const auto event = cuda::new_event(0, false);
  event->record(stream);
  cuda::order(stream, cuda::new_stream(1));
  Pool workspaces(Device{Device::Kind::cuda, 0});
  const auto graph =
      cuda::make_graph(0, [&](Stream& on) { cudaMemsetAsync(memory, 2, 256, cuda::handle(on)); }, workspaces);
  graph->launch(stream);
  cuda::synchronize(0);
  char found[256];
  cuda::to_host(stream, found, memory, 256);
  expect(found[0] == 2 && found[255] == 2, "the work was done");
  {
    const cuda::OnDevice here(0);
    expect(current() == 0, "within it is the current one");
  }
  expect(current() == 1, "and the other library's afterwards");
}

void a_graph_that_goes_while_it_runs() {
  Pool workspaces(Device{Device::Kind::cuda, 0});
  auto graph = graph_with_finding(workspaces);
  graph->launch(cuda::new_stream(0));
  graph.reset();
  expect(error_of([] { cuda::synchronize(0); }) == "found at 0", "what it found is told");
  expect(error_of([] { cuda::synchronize(0); }).empty(), "once");
}

// A graph on a stream that nobody waited for may be writing what it finds at this moment.
void findings_on_another_stream() {
  Pool workspaces(Device{Device::Kind::cuda, 0});
  Stream &busy = cuda::new_stream(0), &other = cuda::new_stream(0);
  const auto graph = graph_with_finding(workspaces);
  graph->launch(busy);
  cudaStreamSynchronize(cuda::handle(busy));  // it has been found, which weft can't know
  expect(error_of([&] { cuda::synchronize(other); }).empty(), "not looked at");
  expect(error_of([&] { cuda::synchronize(busy); }) == "found at 0", "found");
  expect(error_of([&] { cuda::synchronize(busy); }).empty(), "once");
}

void destructors_on_a_lost_device() {
  auto pool = std::make_unique<Pool>(Device{Device::Kind::cuda, 0});
  pool->deallocate(pool->allocate(1000), 1000);
  auto workspaces = std::make_unique<Pool>(Device{Device::Kind::cuda, 0});
  auto graph = graph_with_finding(*workspaces);
  graph->launch(cuda::stream(0));
  auto event = cuda::new_event(0, true);
  auto workspace = std::make_unique<cuda::Workspace>(cuda::stream(0), 512);
  auto foreign = std::make_unique<Storage>();
  bool released = false;
  foreign->stream = &cuda::new_stream(0);
  foreign->release = [&] { released = true; };
  lose_device();
  workspace.reset();
  graph.reset();
  workspaces.reset();
  pool.reset();
  event.reset();
  foreign.reset();
  expect(released, "the foreign memory was released all the same");
  const std::string error = error_of([] { cuda::synchronize(0); });
  expect(error.find("cuda: an operation on cuda:0 failed: ") == 0, "the next wait says that it is lost");
}

// The owner of foreign memory gets it back when nothing that is queued uses it any more.
void foreign_memory_outlives_its_use() {
  void* const memory = cuda::allocator(0).allocate(256);
  Stream& stream = cuda::new_stream(0);
  auto foreign = std::make_shared<Storage>();
  foreign->device = {Device::Kind::cuda, 0};
  bool idle = false;
  foreign->release = [&] { idle = cuda::finished(stream); };
  stream.use({foreign});
  cuda::fill_bytes(stream, FillBytesArgs{memory, 256, 1});
  foreign.reset();
  expect(idle, "released while it was in use");
}

void a_pinned_source_outlives_its_copy() {
  constexpr std::size_t bytes = 4096;
  void* const there = cuda::allocator(0).allocate(bytes);
  Stream& stream = cuda::new_stream(0);
  auto source = std::make_shared<Storage>();
  source->data = std::memset(cuda::allocate_pinned(bytes), 7, bytes);
  source->pinned = true;
  source->release = [block = source->data] { cuda::free_pinned(block); };
  stream.use({source});
  cuda::to_device(stream, there, source->data, bytes, true);
  source.reset();
  char found[bytes] = {};
  const std::string error = error_of([&] { cuda::to_host(stream, found, there, bytes); });
  expect(error.empty() && found[0] == 7 && found[bytes - 1] == 7, "the copy read freed memory");
}

// Another library had the memory and has not said on which streams it uses it.
void exported_memory_is_kept_until_the_device_is_idle() {
  Allocator& source = cuda::allocator(0);
  constexpr std::size_t bytes = 1 << 16;
  cudaStream_t foreign = nullptr;
  cudaStreamCreateWithFlags(&foreign, cudaStreamNonBlocking);
  auto given = std::make_shared<Storage>();
  given->device = {Device::Kind::cuda, 0};
  given->data = source.allocate(bytes);
  given->nbytes = bytes;
  given->owner = &source;
  void* const address = given->data;
  cudaMemsetAsync(address, 1, bytes, foreign);  // the other library's kernel
  cuda::keep_until_idle(std::move(given));
  expect(cudaStreamQuery(foreign) == cudaErrorNotReady, "nobody waited yet");
  const std::int64_t held = source.stats().allocated;
  void* const next = source.allocate(bytes);
  expect(next != address || cudaStreamQuery(foreign) == cudaSuccess, "used again while in use");
  expect(source.stats().allocated <= held, "it was given back before more was asked for");
  source.deallocate(next, bytes);
  cuda::synchronize(0);
  expect(source.stats().allocated == 0, "all is given back");
}

struct Case {
  const char* name;
  void (*run)();
};
#define CASE(name) {#name, &name}
constexpr Case cases[] = {
    CASE(streams_made_by_several_threads),
    CASE(one_array_on_streams_of_several_threads),
    CASE(synchronize_during_a_capture),
    CASE(a_profile_begins_during_a_capture),
    CASE(free_during_a_capture),
    CASE(a_graph_goes_during_a_capture),
    CASE(a_capture_short_of_memory),
    CASE(another_library_changes_the_device),
    CASE(a_graph_that_goes_while_it_runs),
    CASE(findings_on_another_stream),
    CASE(destructors_on_a_lost_device),
    CASE(foreign_memory_outlives_its_use),
    CASE(a_pinned_source_outlives_its_copy),
    CASE(exported_memory_is_kept_until_the_device_is_idle),
};

}  // namespace

int main(int count, char** names) {
  if (count < 2)
    for (const Case& each : cases) std::printf("%s\n", each.name);
  for (int i = 1; i < count; ++i) {
    bool known = false;
    for (const Case& each : cases)
      if (std::strcmp(each.name, names[i]) == 0) known = true, each.run();
    if (!known) return std::printf("no case %s\n", names[i]), 2;
  }
  return all_right ? 0 : 1;
}
