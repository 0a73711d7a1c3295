// What a kernel's host side needs: its stream's handle, memory for the time of a launch, sizes of grids, and
// what the device can do.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cuda/api.h"

namespace weft {

class Allocator;
class Stream;

}  // namespace weft

namespace weft::cuda {

cudaStream_t handle(const Stream& stream);

// The properties of a device that policies look at.
struct Properties {
  char name[256];
  int major, minor;              // compute capability
  int multiprocessors;           // SMs
  std::size_t shared_per_block;  // bytes, the most a kernel can be allowed
  std::size_t l2_bytes, total_bytes;
};
const Properties& properties(const Stream& stream);

// Device memory for the time of the launches that follow on `stream`: freed in the stream's order, so leaving
// the scope at once is right. In a graph it comes from the graph's own pool. Not initialized.
class Workspace {
 public:
  Workspace(const Stream& stream, std::size_t bytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  template <class T>
  T* data() const {
    return static_cast<T*>(data_);
  }

 private:
  const Stream& stream_;
  Allocator& source_;
  void* data_;
  std::size_t bytes_;
};

// Allows a kernel more than 48 KiB of dynamic shared memory; before its launch, each time.
template <class... Params>
void allow_shared(void (*kernel)(Params...), std::size_t bytes) {
  cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(bytes));
}

template <class T>
constexpr T ceil_div(T a, std::type_identity_t<T> b) {
  return (a + b - 1) / b;
}

// Blocks for a grid-stride loop over n pieces of work, `block` threads each: enough to fill the device some
// times over, no more, so that the loop's set-up is shared. At least one.
inline unsigned grid_for(const Stream& stream, std::int64_t n, int block,
                         int blocks_per_multiprocessor = 16) {
  const std::int64_t wanted = ceil_div(n, block);
  const std::int64_t most = std::int64_t{properties(stream).multiprocessors} * blocks_per_multiprocessor;
  return static_cast<unsigned>(wanted < 1 ? 1 : wanted < most ? wanted : most);
}

}  // namespace weft::cuda
