// Several blocks of memory copied by one launch: the arguments of a replay, where a launch for each would
// cost more than the bytes. A column of the grid for each; 16 bytes an access where both ends allow it.
//
// Bytes: read and written once. 400 KB (images of 28 x 28 at batch 64, and their labels) take less than the
// launch itself.
#include "core/memory.h"
#include "cuda/device/vec.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;
using Bytes = Pack<unsigned, 4>;

__global__ void __launch_bounds__(block) copy_blocks_kernel(CopyBlocksArgs a) {
  const CopyBlocksArgs::Part part = a.parts[blockIdx.y];
  const bool aligned =
      (reinterpret_cast<std::uintptr_t>(part.to) | reinterpret_cast<std::uintptr_t>(part.from)) % 16 == 0;
  const std::size_t thread = blockIdx.x * std::size_t{block} + threadIdx.x,
                    step = gridDim.x * std::size_t{block};
  const std::size_t packs = aligned ? part.bytes / sizeof(Bytes) : 0;
  for (std::size_t i = thread; i < packs; i += step)
    static_cast<Bytes*>(part.to)[i] = static_cast<const Bytes*>(part.from)[i];
  for (std::size_t i = packs * sizeof(Bytes) + thread; i < part.bytes; i += step)
    static_cast<unsigned char*>(part.to)[i] = static_cast<const unsigned char*>(part.from)[i];
}

}  // namespace

void copy_blocks(Stream& stream, const CopyBlocksArgs& a) {
  std::size_t longest = 1;
  for (int i = 0; i < a.count; ++i) longest = longest < a.parts[i].bytes ? a.parts[i].bytes : longest;
  const auto packs = static_cast<std::int64_t>(ceil_div(longest, sizeof(Bytes)));
  launch_grid<block>(stream, copy_blocks_kernel,
                     dim3(grid_for(stream, packs, block), static_cast<unsigned>(a.count)), a);
}

}  // namespace weft::cuda
