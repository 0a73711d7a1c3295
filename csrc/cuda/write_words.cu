// A few words from a kernel's arguments to memory.
#include "core/memory.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 32;
__global__ void __launch_bounds__(block) write_words_kernel(WriteWordsArgs a) {
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int i = 0; i < 2; ++i)
    if (i < a.count) a.to[i] = a.words[i];
}

}  // namespace

void write_words(Stream& stream, const WriteWordsArgs& args) {
  launch_grid<block>(stream, write_words_kernel, 1, args);
}

}  // namespace weft::cuda
