// Devices, their properties, and errors. What the machine looks like comes from the environment:
//
//   WEFT_EMULATED_DEVICES  how many (1); 0; nodriver; olddriver
//   WEFT_EMULATED_MEMORY   bytes of each (2 GiB)
//   WEFT_EMULATED_ARCH     wrong: no kernel was built for the device
#include <pthread.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulated_state.h"

namespace weft::emulated {
namespace {

thread_local int selected_device = 0;
thread_local cudaError_t last_error = cudaSuccess;
thread_local int depth = 0;       // of nested calls
std::atomic<bool> forked{false};  // from a process that had used CUDA

void read_environment(Machine& m) {
  const char* devices = std::getenv("WEFT_EMULATED_DEVICES");
  const char* memory = std::getenv("WEFT_EMULATED_MEMORY");
  const char* architecture = std::getenv("WEFT_EMULATED_ARCH");
  const std::string which = devices ? devices : "1";
  const std::size_t capacity = memory ? std::strtoull(memory, nullptr, 10) : std::size_t{2} << 30;
  m.wrong_architecture = architecture != nullptr && std::string(architecture) == "wrong";
  if (which == "nodriver" || which == "olddriver") {
    m.driver_version = which == "nodriver" ? 0 : 11000;
    m.state = cudaErrorInsufficientDriver;
    return;
  }
  const int count = std::atoi(which.c_str());
  if (count <= 0) m.state = cudaErrorNoDevice;
  for (int d = 0; d < count; ++d) {
    m.devices.push_back(std::make_unique<Device>(capacity));
    auto stream = std::make_unique<Stream>();
    stream->device = d;
    stream->is_default = true;
    m.devices.back()->streams.push_back(std::move(stream));
  }
}

struct ErrorText {
  cudaError_t error;
  const char *name, *text;
};
constexpr ErrorText error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorUnsupportedPtxVersion, "cudaErrorUnsupportedPtxVersion",
     "the provided PTX was compiled with an unsupported toolchain."},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources requested for launch"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotPermitted, "cudaErrorNotPermitted", "operation not permitted"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const ErrorText* find(cudaError_t error) {
  for (const ErrorText& each : error_texts)
    if (each.error == error) return &each;
  return nullptr;
}

}  // namespace

Machine& machine() {
  static Machine* const m = [] {
    auto* made = new Machine;  // never destroyed: Python's objects may outlive static ones
    read_environment(*made);
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    return made;
  }();
  return *m;
}

Call::Call() : guard_(machine().lock, std::defer_lock) {
  if (!forked) guard_.lock();
  blocked_ = forked                           ? cudaErrorInitializationError
             : machine().state != cudaSuccess ? machine().state
                                              : machine().sticky;
  ++depth;
  if (blocked_ != cudaSuccess) last_error = blocked_;
}
Call::~Call() { --depth; }
bool Call::unusable() const { return forked || machine().state != cudaSuccess; }
cudaError_t Call::done(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

int current_device() { return selected_device; }
Device& device() { return *machine().devices[static_cast<std::size_t>(selected_device)]; }

void set_fault() { machine().sticky = cudaErrorLaunchFailure; }

void forget_fault();
void emulated_reset() {
  Call call;
  machine().sticky = last_error = cudaSuccess;
  forget_fault();
}

}  // namespace weft::emulated

using namespace weft::emulated;

const char* cudaGetErrorName(cudaError_t error) {
  const auto* found = find(error);
  return found != nullptr ? found->name : "unrecognized error code";
}
// Of a fault it tells more than a device's runtime could: where it was.
const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorLaunchFailure && *emulated_fault() != '\0') {
    thread_local std::string text;
    text = std::string("unspecified launch failure: ") + emulated_fault();
    return text.c_str();
  }
  const auto* found = find(error);
  return found != nullptr ? found->text : "unrecognized error code";
}
cudaError_t cudaGetLastError() {
  const Call call;
  const cudaError_t error = machine().sticky != cudaSuccess ? machine().sticky : last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() {
  const Call call;
  return machine().sticky != cudaSuccess ? machine().sticky : last_error;
}

cudaError_t cudaDriverGetVersion(int* version) {
  const Call call;
  if (version == nullptr) return cudaErrorInvalidValue;
  *version = machine().driver_version;  // 0 where there is none, and that is no error
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  if (version == nullptr) return cudaErrorInvalidValue;
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  Call call;
  if (count == nullptr) return call.done(cudaErrorInvalidValue);
  *count = static_cast<int>(machine().devices.size());
  return call.done(machine().state);
}

cudaError_t cudaSetDevice(int device) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (device < 0 || static_cast<std::size_t>(device) >= machine().devices.size())
    return call.done(cudaErrorInvalidDevice);
  selected_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  Call call;
  if (call.unusable()) return call.blocked();
  *device = selected_device;
  return cudaSuccess;
}

// An H200's, so that the policies decide as they do there.
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  Call call;
  if (call.unusable()) return call.blocked();
  if (properties == nullptr) return call.done(cudaErrorInvalidValue);
  if (device < 0 || static_cast<std::size_t>(device) >= machine().devices.size())
    return call.done(cudaErrorInvalidDevice);
  cudaDeviceProp p{};
  std::snprintf(p.name, sizeof p.name, "weft's CUDA emulator");
  p.totalGlobalMem = machine().devices[static_cast<std::size_t>(device)]->memory.capacity();
  p.sharedMemPerBlock = shared_default_limit;
  p.sharedMemPerBlockOptin = shared_optin_limit;
  p.sharedMemPerMultiprocessor = shared_of_processor;
  p.reservedSharedMemPerBlock = 1024;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.warpSize = 32;
  p.maxThreadsPerBlock = 1024;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 2147483647;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.major = 9;
  p.multiProcessorCount = processors;
  p.canMapHostMemory = p.concurrentKernels = p.unifiedAddressing = p.ECCEnabled = p.cooperativeLaunch = 1;
  p.asyncEngineCount = 3;
  p.memoryBusWidth = 6144;
  p.l2CacheSize = 60 << 20;
  p.persistingL2CacheMaxSize = 37 << 20;
  p.maxThreadsPerMultiProcessor = 2048;
  p.maxBlocksPerMultiProcessor = 32;
  p.pciBusID = device;
  *properties = p;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device)) return error;
  Call call;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: return *value = p.maxThreadsPerBlock, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return *value = static_cast<int>(p.sharedMemPerBlock), cudaSuccess;
    case cudaDevAttrWarpSize: return *value = p.warpSize, cudaSuccess;
    case cudaDevAttrMaxRegistersPerBlock: return *value = p.regsPerBlock, cudaSuccess;
    case cudaDevAttrClockRate: return *value = 1980000, cudaSuccess;
    case cudaDevAttrMultiProcessorCount: return *value = p.multiProcessorCount, cudaSuccess;
    case cudaDevAttrMemoryClockRate: return *value = 3201000, cudaSuccess;
    case cudaDevAttrGlobalMemoryBusWidth: return *value = p.memoryBusWidth, cudaSuccess;
    case cudaDevAttrL2CacheSize: return *value = p.l2CacheSize, cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor: return *value = p.maxThreadsPerMultiProcessor, cudaSuccess;
    case cudaDevAttrUnifiedAddressing: return *value = 1, cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: return *value = p.major, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: return *value = p.minor, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return *value = static_cast<int>(p.sharedMemPerMultiprocessor), cudaSuccess;
    case cudaDevAttrMaxRegistersPerMultiprocessor: return *value = p.regsPerMultiprocessor, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = static_cast<int>(p.sharedMemPerBlockOptin), cudaSuccess;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return *value = static_cast<int>(p.reservedSharedMemPerBlock), cudaSuccess;
  }
  return call.done(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { return *can = 0, cudaSuccess; }
cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) {
  Call call;
  return call.done(cudaErrorNotSupported);
}

cudaError_t cudaDeviceSynchronize() {
  Call call;
  if (call.blocked()) return call.blocked();
  if (const cudaError_t error = forbid_while_captured(current_device())) return call.done(error);
  synchronize(device());
  if (machine().sticky == cudaSuccess && !device().memory.check_red_zones()) set_fault();
  return call.done(machine().sticky);
}

// Of a reset only this: an asynchronous fault is forgotten.
cudaError_t cudaDeviceReset() {
  emulated_reset();
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (kernel == nullptr) return call.done(cudaErrorInvalidDeviceFunction);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<std::size_t>(value) > shared_optin_limit)
    return call.done(cudaErrorInvalidValue);
  device().dynamic_limit[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

// Registers and local memory are the compiler's business: 32 and none here.
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (machine().wrong_architecture) return call.done(cudaErrorNoKernelImageForDevice);
  const auto& limits = device().dynamic_limit;
  const auto found = limits.find(kernel);
  *attributes = {static_shared_size(kernel),
                 0,
                 0,
                 1024,
                 32,
                 90,
                 90,
                 0,
                 static_cast<int>(found == limits.end() ? shared_default_limit : found->second)};
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          std::size_t shared) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (threads < 1) return call.done(cudaErrorInvalidValue);
  if (threads > 1024) return *blocks = 0, cudaSuccess;
  const std::size_t bytes = static_shared_size(kernel) + shared + 1024;
  const int warps = (threads + 31) / 32;
  int most = 64 / warps < 32 ? 64 / warps : 32;
  if (static_cast<std::size_t>(most) > shared_of_processor / bytes)
    most = static_cast<int>(shared_of_processor / bytes);
  *blocks = most;
  return cudaSuccess;
}
