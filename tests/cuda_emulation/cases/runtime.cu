// The runtime's API: what waits and what doesn't, launches that are refused, captures, errors.
#include <cstdint>
#include <cstring>
#include <thread>

#include "cases.h"

using namespace weft::cuda;

namespace {

__global__ void add_kernel(float* out, float value) { out[threadIdx.x] += value; }
__global__ void dynamic_kernel(float* out) {
  DYNAMIC_SHARED(float, buffer);
  buffer[threadIdx.x] = 1;
  out[threadIdx.x] = buffer[threadIdx.x];
}
__global__ void fail_kernel() { __trap(); }

float* pinned_floats(int count) {
  float* p = nullptr;
  cudaMallocHost(&p, static_cast<std::size_t>(count) * 4);
  return p;
}
float* zeros(int count) {
  float* p = device_memory<float>(count);
  cudaMemset(p, 0, static_cast<std::size_t>(count) * 4);
  cudaDeviceSynchronize();
  return p;
}

}  // namespace

// A copy into pinned memory has not arrived before the stream is waited for.
CASE(missing_stream_synchronize) {
  float *device = zeros(4), *host = pinned_floats(4);
  const cudaStream_t stream = new_stream();
  launch(add_kernel, 1, 4, 0, stream, device, 3.0f);
  cudaMemcpyAsync(host, device, 16, cudaMemcpyDeviceToHost, stream);
  expect(host[0] != host[0], "it is NaN still");
  cudaStreamSynchronize(stream);
  expect(host[0] == 3, "it has arrived");
}

// Pinned memory is read when the stream runs, pageable memory by the call.
CASE(host_memory_changed_too_early) {
  float *device = zeros(1), *pinned = pinned_floats(1);
  const cudaStream_t stream = new_stream();
  *pinned = 1;
  cudaMemcpyAsync(device, pinned, 4, cudaMemcpyHostToDevice, stream);
  *pinned = 2;
  cudaStreamSynchronize(stream);
  expect(to_host(device, 1)[0] == 2, "the later value of pinned memory");
  float pageable = 3;
  cudaMemcpyAsync(device, &pageable, 4, cudaMemcpyHostToDevice, stream);
  pageable = 4;
  cudaStreamSynchronize(stream);
  expect(to_host(device, 1)[0] == 3, "the value of pageable memory at the call");
}

// Streams know nothing of each other without an event.
CASE(streams_and_events) {
  float* device = zeros(1);
  const cudaStream_t first = new_stream(), second = new_stream();
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  launch(add_kernel, 1, 1, 0, first, device, 1.0f);
  float seen = -1;
  cudaMemcpyAsync(&seen, device, 4, cudaMemcpyDeviceToHost, second);
  expect(seen == 0, "the second stream doesn't wait");
  cudaEventRecord(event, first);
  expect(cudaEventQuery(event) == cudaErrorNotReady, "not ready");
  cudaStreamWaitEvent(second, event);
  cudaMemcpyAsync(&seen, device, 4, cudaMemcpyDeviceToHost, second);
  expect(seen == 1, "it waits for the event");
  expect(cudaEventQuery(event) == cudaSuccess, "ready");
  float time = 0;
  expect(cudaEventElapsedTime(&time, event, event) == cudaErrorInvalidResourceHandle, "no timing");
  launch(add_kernel, 1, 1, 0, first, device, 1.0f);
  int queries = 0;
  while (cudaStreamQuery(first) == cudaErrorNotReady) ++queries;
  expect(queries > 1 && to_host(device, 1)[0] == 2, "a loop of queries ends");
}

// The default stream waits for blocking streams, and not for the others.
CASE(default_stream) {
  float* device = zeros(1);
  cudaStream_t blocking = nullptr;
  cudaStreamCreate(&blocking);
  const cudaStream_t other = new_stream();
  launch(add_kernel, 1, 1, 0, blocking, device, 1.0f);
  launch(add_kernel, 1, 1, 0, other, device, 10.0f);
  expect(to_host(device, 1)[0] == 1, "the blocking one's work alone");
}

CASE(refused_launches) {
  float* device = device_memory<float>(2048);
  const cudaStream_t stream = new_stream();
  const auto error_of = [&](dim3 grid, dim3 block, std::size_t shared) {
    launch(dynamic_kernel, grid, block, shared, stream, device);
    return cudaGetLastError();
  };
  expect(error_of(1, 1025, 4100) == cudaErrorInvalidConfiguration, "1025 threads");
  expect(error_of(0, 32, 128) == cudaErrorInvalidConfiguration, "no block");
  expect(error_of({1, 65536, 1}, 32, 128) == cudaErrorInvalidConfiguration, "65536 blocks in y");
  expect(error_of(1, {1, 1, 65}, 512) == cudaErrorInvalidConfiguration, "65 threads in z");
  expect(error_of(1, 32, 49153) == cudaErrorInvalidValue, "more than 48 KiB");
  expect(cudaFuncSetAttribute(dynamic_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 233000) ==
             cudaErrorInvalidValue,
         "more than 227 KiB allowed");
  cudaGetLastError();
  cudaFuncSetAttribute(dynamic_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 232448);
  expect(error_of(1, 32, 232448) == cudaSuccess, "227 KiB allowed");
  expect(cudaPeekAtLastError() == cudaSuccess, "the error was taken");
}

CASE(refused_copies) {
  float* device = device_memory<float>(4);
  float host[8] = {};
  const cudaStream_t stream = new_stream();
  expect(cudaMemcpyAsync(device, host, 32, cudaMemcpyHostToDevice, stream) == cudaErrorInvalidValue,
         "too long");
  expect(cudaMemcpyAsync(device, host, 16, cudaMemcpyDeviceToHost, stream) == cudaErrorInvalidValue,
         "the wrong way");
  expect(cudaMemsetAsync(host, 0, 16, stream) == cudaErrorInvalidValue, "the host's memory set");
  expect(cudaFree(host) == cudaErrorInvalidValue, "the host's memory freed");
  expect(cudaFree(device) == cudaSuccess && cudaFree(device) == cudaErrorInvalidValue, "freed twice");
  expect(cudaMemcpy(device, host, 16, cudaMemcpyHostToDevice) == cudaErrorInvalidValue, "freed memory");
  cudaGetLastError();
}

CASE(out_of_memory) {
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  void *p = nullptr, *q = nullptr;
  expect(cudaMalloc(&p, free / 2) == cudaSuccess, "a half");
  expect(cudaMalloc(&q, free / 2 + 1024) == cudaErrorMemoryAllocation && q == nullptr,
         "more than the other half");
  expect(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess, "told once");
  expect(cudaMalloc(&q, free / 2) == cudaSuccess, "the other half");
}

// A captured step does nothing; each replay does it with what then lies in memory.
CASE(graph) {
  float *device = zeros(4), *pinned = pinned_floats(4);
  const cudaStream_t stream = new_stream(), side = new_stream();
  cudaEvent_t fork = nullptr, join = nullptr;
  cudaEventCreate(&fork);
  cudaEventCreate(&join);
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  launch(add_kernel, 1, 4, 0, stream, device, 1.0f);
  cudaEventRecord(fork, stream);
  cudaStreamWaitEvent(side, fork);
  launch(add_kernel, 1, 4, 0, side, device, 10.0f);
  cudaEventRecord(join, side);
  cudaStreamWaitEvent(stream, join);
  cudaMemcpyAsync(pinned, device, 16, cudaMemcpyDeviceToHost, stream);
  cudaGraph_t graph = nullptr;
  expect(cudaStreamEndCapture(stream, &graph) == cudaSuccess, "captured");
  std::size_t nodes = 0;
  cudaGraphGetNodes(graph, nullptr, &nodes);
  expect(nodes == 3, "three nodes");
  expect(to_host(device, 1)[0] == 0, "nothing was done");
  cudaGraphExec_t exec = nullptr;
  cudaGraphInstantiate(&exec, graph);
  cudaGraphDestroy(graph);
  for (int i = 0; i < 3; ++i) cudaGraphLaunch(exec, stream);
  expect(pinned[0] != pinned[0], "nothing before the synchronization");
  cudaStreamSynchronize(stream);
  expect(pinned[3] == 33, "three replays");
  cudaGraphExecDestroy(exec);
}

CASE(refused_in_capture) {
  float* device = zeros(4);
  const cudaStream_t stream = new_stream(), side = new_stream();
  cudaGraph_t graph = nullptr;
  const auto after = [&](auto call) {
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    launch(add_kernel, 1, 4, 0, stream, device, 1.0f);
    const cudaError_t error = call();
    cudaStreamEndCapture(stream, &graph);
    cudaGetLastError();
    return error;
  };
  void* p = nullptr;
  expect(after([&] { return cudaStreamSynchronize(stream); }) == cudaErrorStreamCaptureUnsupported,
         "synchronize");
  expect(graph == nullptr, "the capture is invalid");
  expect(after([&] { return cudaMalloc(&p, 16); }) == cudaErrorStreamCaptureUnsupported, "cudaMalloc");
  expect(after([&] { return cudaMemcpy(device, device, 4, cudaMemcpyDeviceToDevice); }) ==
             cudaErrorStreamCaptureImplicit,
         "cudaMemcpy");
  expect(after([&] { return cudaDeviceSynchronize(); }) == cudaErrorStreamCaptureUnsupported, "device");
  cudaEvent_t event = nullptr;
  cudaEventCreate(&event);
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  cudaEventRecord(event, stream);
  expect(cudaEventSynchronize(event) == cudaErrorCapturedEvent, "a captured event");
  cudaStreamWaitEvent(side, event);
  launch(add_kernel, 1, 4, 0, side, device, 1.0f);
  expect(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureUnjoined, "a branch left open");
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
  expect(cudaMalloc(&p, 16) == cudaSuccess, "the relaxed mode allows cudaMalloc");
  expect(cudaStreamEndCapture(stream, &graph) == cudaSuccess, "and goes on");
  cudaGetLastError();
}

// Also by another thread and in the relaxed mode.
CASE(refused_in_relaxed_capture) {
  float *device = zeros(4), *pinned = pinned_floats(4);
  const cudaStream_t stream = new_stream();
  const auto after = [&](cudaError_t (*call)(void*), void* argument) {
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
    cudaError_t error = cudaSuccess;
    std::thread([&] { error = call(argument); }).join();
    cudaGraph_t graph = nullptr;
    expect(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated, "it is spoiled");
    cudaGetLastError();
    return error;
  };
  const auto wait = [](void*) { return cudaDeviceSynchronize(); };
  expect(after(wait, nullptr) == cudaErrorStreamCaptureUnsupported, "device");
  expect(after(cudaFree, device) == cudaErrorStreamCaptureUnsupported, "cudaFree");
  expect(after(cudaFreeHost, pinned) == cudaErrorStreamCaptureUnsupported, "cudaFreeHost");
}

// In a machine of two devices: work goes to the current one's streams.
CASE(another_device) {
  float* device = zeros(4);
  const cudaStream_t stream = new_stream();
  cudaSetDevice(1);
  launch(add_kernel, 1, 4, 0, stream, device, 1.0f);
  expect(cudaGetLastError() == cudaErrorInvalidResourceHandle, "a launch");
  expect(cudaMemsetAsync(device, 0, 16, stream) == cudaErrorInvalidResourceHandle, "a fill");
  expect(cudaMemcpyAsync(device, device, 16, cudaMemcpyDeviceToDevice, stream) == cudaSuccess, "not a copy");
  cudaGetLastError();
}

// Freeing pinned memory doesn't wait for the copy.
CASE(freed_pinned_memory) {
  float *device = zeros(4), *pinned = pinned_floats(4);
  const cudaStream_t stream = new_stream();
  cudaMemcpyAsync(device, pinned, 16, cudaMemcpyHostToDevice, stream);
  expect(cudaFreeHost(pinned) == cudaSuccess, "freed");
}

CASE(freed_pinned_memory_of_a_kernel) {
  float* pinned = pinned_floats(4);
  const cudaStream_t stream = new_stream();
  launch(add_kernel, 1, 4, 0, stream, pinned, 1.0f);
  cudaFreeHost(pinned);
}

// Launches of one graph wait for each other, whatever their streams.
CASE(graph_on_two_streams) {
  float *device = zeros(1), *pinned = pinned_floats(1);
  const cudaStream_t stream = new_stream(), other = new_stream();
  cudaGraph_t graph = nullptr;
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  launch(add_kernel, 1, 1, 0, stream, device, 1.0f);
  cudaMemcpyAsync(pinned, device, 4, cudaMemcpyDeviceToHost, stream);
  cudaStreamEndCapture(stream, &graph);
  cudaGraphExec_t exec = nullptr;
  cudaGraphInstantiate(&exec, graph);
  cudaGraphLaunch(exec, stream);
  cudaGraphLaunch(exec, other);
  cudaStreamSynchronize(other);
  expect(pinned[0] == 2, "both");
}

CASE(default_handles) {
  float* device = zeros(1);
  launch(add_kernel, 1, 1, 0, cudaStreamLegacy, device, 1.0f);
  launch(add_kernel, 1, 1, 0, cudaStreamPerThread, device, 1.0f);
  cudaStreamSynchronize(cudaStreamLegacy);
  expect(to_host(device, 1)[0] == 2, "the default stream");
}

// A fault stays: every later call says so.
CASE(sticky_fault) {
  const cudaStream_t stream = new_stream();
  launch(fail_kernel, 1, 1, 0, stream);
  expect(cudaGetLastError() == cudaSuccess, "the launch itself is right");
  expect(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure, "the fault");
  void* p = nullptr;
  expect(cudaMalloc(&p, 4) == cudaErrorLaunchFailure, "and again");
  expect(cudaGetLastError() == cudaErrorLaunchFailure && cudaGetLastError() == cudaErrorLaunchFailure,
         "for ever");
  expect(std::strstr(cudaGetErrorString(cudaErrorLaunchFailure), "fail_kernel") != nullptr,
         "the kernel's name");
}

CASE(host_function) {
  static int calls = 0;
  const cudaStream_t stream = new_stream();
  cudaLaunchHostFunc(stream, [](void* data) { ++*static_cast<int*>(data); }, &calls);
  expect(calls == 0, "not yet");
  cudaStreamSynchronize(stream);
  expect(calls == 1, "then");
}

CASE(device_count) {
  int count = -1, driver = -1;
  cudaDriverGetVersion(&driver);
  const cudaError_t error = cudaGetDeviceCount(&count);
  std::printf("%s %d %d\n", cudaGetErrorName(error), count, driver);
}

CASE(architecture) {
  launch(add_kernel, 1, 1, 0, nullptr, static_cast<float*>(nullptr), 1.0f);
  print_error(cudaGetLastError());
}

CASE(functions) {
  expect(
      __popc(0xF0F0u) == 8 && __clz(1) == 31 && __clz(0) == 32 && __ffs(8) == 4 && __brev(1) == 0x80000000u,
      "bits");
  expect(__funnelshift_l(0x80000000u, 1u, 1) == 3 && __funnelshift_r(1u, 1u, 1) == 0x80000000u,
         "funnel shifts");
  expect(__umulhi(0x80000000u, 6) == 3 && __mulhi(-2, 0x40000000) == -1 && __umul64hi(1ull << 63, 4) == 2,
         "products");
  expect(__byte_perm(0x33221100u, 0x77665544u, 0x7250) == 0x77225500u, "bytes");
  expect(min(-1, 1u) == 1u && max(2.0f, nanf("")) == 2.0f && min(1.5f, 2.0) == 1.5 && max(3ll, 4ll) == 4,
         "min, max");
  expect(normcdff(0) == 0.5f && rsqrtf(4) == 0.5f && __saturatef(2) == 1 && __expf(0) == 1, "functions");
  float sine = 1, cosine = 1;
  sincospif(0.5f, &sine, &cosine);
  expect(sine == 1 && cosine == 0 && cospif(1) == -1 && sinpif(3) == 0, "sincospif");
  expect(__float_as_uint(1.0f) == 0x3f800000u && __longlong_as_double(__double_as_longlong(2.5)) == 2.5,
         "bit casts");
  static_assert(alignof(float4) == 16 && alignof(float2) == 8 && alignof(float3) == 4 &&
                alignof(double2) == 16);
}
