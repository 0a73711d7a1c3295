// Which table, allocator and stream belong to a device.
#include "backend.h"

#include "core/allocator.h"
#include "core/array.h"
#include "core/cuda.h"
#include "core/stream.h"
#include "cpu/isa.h"

namespace weft {

const Backend& backend(const Device& device) {
  return device.kind == Device::Kind::cpu ? cpu::backend() : cuda::backend(device.index);
}

Allocator& allocator(Device device) {
  return device.kind == Device::Kind::cpu ? cpu_allocator() : cuda::allocator(device.index);
}

Stream& current_stream(Device device) {
  if (device.kind == Device::Kind::cuda) return cuda::stream(device.index);
  thread_local Stream cpu{Device{}};
  return cpu;
}

}  // namespace weft
