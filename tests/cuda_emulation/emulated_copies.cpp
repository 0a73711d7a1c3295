// cudaMemcpy and cudaMemset in all their kinds.
#include <cstring>
#include <vector>

#include "emulated_checker.h"
#include "emulated_state.h"

using namespace weft::emulated;

namespace {

enum class Side { device, pinned, pageable };

Side side_of(const void* address, std::size_t bytes) {
  return device_of(address) >= 0 ? Side::device : is_pinned(address, bytes) ? Side::pinned : Side::pageable;
}

// All of the bytes must lie in one block of the device's memory.
bool reachable(const void* address, std::size_t bytes) {
  const int owner = device_of(address);
  return owner < 0 || machine().devices[static_cast<std::size_t>(owner)]->memory.holds(address, bytes);
}

cudaError_t check_copy(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  if (to == nullptr || from == nullptr || !reachable(to, bytes) || !reachable(from, bytes))
    return cudaErrorInvalidValue;
  if (kind == cudaMemcpyDefault) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  // Pinned memory may be named as the device's, because the device reaches it.
  const auto fits = [](Side side, bool on_device) {
    return on_device ? side != Side::pageable : side != Side::device;
  };
  return fits(side_of(to, bytes), to_device) && fits(side_of(from, bytes), from_device)
             ? cudaSuccess
             : cudaErrorInvalidValue;
}

struct Shape {
  std::size_t to_pitch, from_pitch, width, height;
  std::size_t to_extent() const { return to_pitch * (height - 1) + width; }
  std::size_t from_extent() const { return from_pitch * (height - 1) + width; }
};

void copy(char* to, const char* from, const Shape& shape) {
  for (std::size_t row = 0; row < shape.height; ++row) {
    std::memmove(to + row * shape.to_pitch, from + row * shape.from_pitch, shape.width);
    checker_copied(to + row * shape.to_pitch, from + row * shape.from_pitch, shape.width);
  }
}

// What lies in pageable host memory is read now, in chunks through a staging buffer, or written before the
// call returns; pinned memory is touched when the stream runs. In a capture, each replay reads and writes it.
cudaError_t copy_async(void* to, const void* from, const Shape& shape, cudaMemcpyKind kind, Stream& stream) {
  if (shape.width == 0 || shape.height == 0) return cudaSuccess;
  if (shape.to_pitch < shape.width || shape.from_pitch < shape.width) return cudaErrorInvalidValue;
  if (const cudaError_t error = check_copy(to, from, shape.width, kind)) return error;
  if (!reachable(to, shape.to_extent()) || !reachable(from, shape.from_extent()))
    return cudaErrorInvalidValue;
  const Side to_side = side_of(to, shape.to_extent()), from_side = side_of(from, shape.from_extent());
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
  if (from_side == Side::pageable && to_side == Side::device && !stream.capture) {
    std::vector<char> staged(source, source + shape.from_extent());
    return submit(stream,
                  [=, staged = std::move(staged)] { return copy(target, staged.data(), shape), true; });
  }
  const auto still_there = [](const void* address, std::size_t bytes, Side side) {
    return side != Side::pinned || is_pinned(address, bytes);
  };
  const cudaError_t error = submit(stream, [=] {
    if (still_there(target, shape.to_extent(), to_side) &&
        still_there(source, shape.from_extent(), from_side))
      return copy(target, source, shape), true;
    report_fault("a copy from or to pinned memory that was freed before the stream got there");
    return false;
  });
  if (error == cudaSuccess && !stream.capture && (to_side == Side::pageable || from_side == Side::pageable))
    run_until_empty(stream);
  return error != cudaSuccess ? error : machine().sticky;
}

}  // namespace

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (!is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  return call.done(copy_async(to, from, {bytes, bytes, bytes, 1}, kind, resolve(stream)));
}

cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t bytes,
                                cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (!is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  return call.done(copy_async(to, from, {to_pitch, from_pitch, width, height}, kind, resolve(stream)));
}

// On the default stream, and waited for.
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (forbid_in_capture() != cudaSuccess) return call.done(cudaErrorStreamCaptureImplicit);
  Stream& stream = resolve(nullptr);
  const cudaError_t error = copy_async(to, from, {bytes, bytes, bytes, 1}, kind, stream);
  if (error == cudaSuccess) run_until_empty(stream);
  return call.done(error != cudaSuccess ? error : machine().sticky);
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (!is_stream(stream)) return call.done(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return cudaSuccess;
  if (to == nullptr || !reachable(to, bytes) || side_of(to, bytes) == Side::pageable)
    return call.done(cudaErrorInvalidValue);
  if (!is_of_current_device(stream)) return call.done(cudaErrorInvalidResourceHandle);
  return call.done(submit(resolve(stream), [=] {
    std::memset(to, value, bytes);
    checker_copied(to, nullptr, bytes);
    return true;
  }));
}

cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (forbid_in_capture() != cudaSuccess) return call.done(cudaErrorStreamCaptureImplicit);
  return cudaMemsetAsync(to, value, bytes, nullptr);  // asynchronous for the host, as on a device
}
