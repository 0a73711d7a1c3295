// Devices: which there are, which one a thread uses, and what their errors mean.
#include "cuda/runtime.h"

#include <pthread.h>

#include <cstdlib>
#include <cstring>

#include "core/allocator.h"
#include "core/error.h"

namespace weft::cuda {

namespace {

struct Found {
  int count = 0;
  std::string reason;  // why there is none
};

std::atomic<bool> in_forked_child{false};

std::string version(int number) { return str(number / 1000, ".", number % 1000 / 10); }

std::string missing(cudaError_t status) {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  switch (status) {
    case cudaErrorInsufficientDriver:
      if (driver == 0) return "there is no CUDA driver on this machine";
      return str("the driver supports CUDA ", version(driver), ", which is older than the CUDA ",
                 version(runtime), " that weft was built with; update the driver");
    case cudaErrorNoDevice: return "the driver finds no CUDA device";
    default: return str(cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
  }
}

const Found& found() {
  static const Found result = [] {
    Found f;
    const cudaError_t status = cudaGetDeviceCount(&f.count);
    if (status != cudaSuccess) {
      f.count = 0;
      f.reason = missing(status);
      cudaGetLastError();
    } else if (f.count == 0) {
      f.reason = missing(cudaErrorNoDevice);
    } else {
      pthread_atfork(nullptr, nullptr, [] { in_forked_child = true; });  // the driver has begun its work
    }
    return f;
  }();
  return result;
}

void read_properties(DeviceState& state) {
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, state.index), "cannot read the device's properties");
  Properties& to = state.properties;
  std::memcpy(to.name, p.name, sizeof to.name);
  to.major = p.major;
  to.minor = p.minor;
  to.multiprocessors = p.multiProcessorCount;
  to.shared_per_block = p.sharedMemPerBlockOptin;
  to.l2_bytes = static_cast<std::size_t>(p.l2CacheSize);
  to.total_bytes = p.totalGlobalMem;
}

std::unique_ptr<DeviceState> make_state(int index) {
  auto state = std::make_unique<DeviceState>();
  state->index = index;
  read_properties(*state);
  state->allocator = make_allocator(index);
  state->staging = new Staging;
  check(cudaEventCreateWithFlags(&state->order_event, cudaEventDisableTiming), "cannot make an event");
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cannot make a stream");
  state->default_stream = std::make_unique<Stream>(Device{Device::Kind::cuda, index}, stream);
  return state;
}

// Makes a device current; what was current before, or -1 where that is the same.
int set_current(int device) {
  int before = -1;
  check(cudaGetDevice(&before), "cannot tell the current device");
  if (before == device) return -1;
  check(cudaSetDevice(device), "cannot use the device");
  return before;
}

// What the architectures of the build are called, from CMake: "80,90".
#ifndef WEFT_CUDA_ARCHITECTURES
#define WEFT_CUDA_ARCHITECTURES ""
#endif

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error of this call alone must not show again in the next launch
  throw StateError(
      str("cuda: ", what, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")"));
}

std::string describe_failure(cudaError_t status, int device, const char* op) {
  const std::string error = str(cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorUnsupportedPtxVersion) {
    const DeviceInfo info = device_info(device);
    return str(op ? op : "cuda", ": this build of weft has kernels for the architectures ",
               WEFT_CUDA_ARCHITECTURES, ", but cuda:", device, " (", info.name, ") is ", info.major,
               info.minor, "; build weft with CMAKE_CUDA_ARCHITECTURES=", info.major, info.minor);
  }
  if (op) return str(op, ": failed on cuda:", device, ": ", error);
  return str("cuda: an operation on cuda:", device, " failed: ", error,
             "; WEFT_CUDA_SYNC=1 in the environment makes the error name it");
}

bool built() { return true; }
bool emulated() {
#if defined(WEFT_CUDA_EMULATED)
  return true;
#else
  return false;
#endif
}
int device_count() { return found().count; }
std::string unavailable_reason() { return found().reason; }

Versions versions() {
  Versions v;
  cudaDriverGetVersion(&v.driver);
  cudaRuntimeGetVersion(&v.runtime);
  for (const char* at = WEFT_CUDA_ARCHITECTURES; *at; ++at) {
    char* end = nullptr;
    const long number = std::strtol(at, &end, 10);
    if (end == at) continue;
    v.architectures.push_back(static_cast<int>(number));
    at = *end ? end : end - 1;
  }
  return v;
}

bool forked() noexcept { return in_forked_child.load(std::memory_order_relaxed); }

void refuse_after_fork() {
  check_state(
      !forked(),
      "cuda: this process was forked from one that had used CUDA, and CUDA does not work in both; start "
      "processes by multiprocessing's method \"spawn\"");
}

std::recursive_mutex& captures() {
  static auto* mutex = new std::recursive_mutex;
  return *mutex;
}

DeviceState& device_state(int index) {
  static std::mutex mutex;
  static auto* states = new std::map<int, std::unique_ptr<DeviceState>>;  // never destroyed: arrays live on
  thread_local DeviceState* last = nullptr;
  refuse_after_fork();
  if (last && last->index == index) return *last;
  check_state(found().count > 0, "cuda:", index, " cannot be used: ", found().reason);
  check_state(index >= 0 && index < found().count, "cuda:", index, " does not exist: this machine has ",
              found().count, found().count == 1 ? " CUDA device" : " CUDA devices");
  const std::lock_guard lock(mutex);
  auto& state = (*states)[index];
  if (!state) {
    const int before = set_current(index);
    state = make_state(index);
    if (before >= 0) cudaSetDevice(before);
  }
  last = state.get();
  return *last;
}

OnDevice::OnDevice(int device) {
  device_state(device);
  before_ = set_current(device);
}
OnDevice::~OnDevice() {
  if (before_ >= 0) cudaSetDevice(before_);
}

const Properties& properties(const Stream& stream) { return device_state(stream.device().index).properties; }

DeviceInfo device_info(int device) {
  const DeviceState& state = device_state(device);
  const OnDevice current(device);
  DeviceInfo info;
  info.name = state.properties.name;
  info.major = state.properties.major;
  info.minor = state.properties.minor;
  info.multiprocessors = state.properties.multiprocessors;
  info.l2_bytes = static_cast<std::int64_t>(state.properties.l2_bytes);
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cannot ask for the free memory");
  info.free_memory = static_cast<std::int64_t>(free);
  info.total_memory = static_cast<std::int64_t>(total);
  return info;
}

Allocator& allocator(int device) { return *device_state(device).allocator; }

}  // namespace weft::cuda
