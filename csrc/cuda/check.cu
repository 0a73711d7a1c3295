// Checks of an array's elements; see ops/check.h. The first bad element is written to pinned memory
// (findings.cpp reads it).
//
// A few thousand elements, as of labels, are one block's work, in one launch. Of more, each block of many
// finds its own first one, and one block the first of those.
//
// Bytes: 8 for each element, read once.
#include "cuda/check_elements.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 512;
constexpr std::int64_t small = 8 * block;  // elements that one block goes through
constexpr int most_blocks = 264;

// The block's first bad element among those of its share: every thread's i-th, i + grid-th, ...
__device__ __forceinline__ ElementIndex first_bad(const CheckValuesArgs& a) {
  constexpr int ahead = 4;  // loads under way at once
  ElementIndex first = no_finding;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * block;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * block + threadIdx.x;
       i < a.count && first == no_finding; i += ahead * step) {
    bool good[ahead];
#pragma unroll
    for (int u = 0; u < ahead; ++u) good[u] = i + u * step >= a.count || is_good(a, i + u * step);
#pragma unroll
    for (int u = ahead - 1; u >= 0; --u)
      if (!good[u]) first = static_cast<ElementIndex>(i + u * step);
  }
  return block_reduce<SmallerIndex, block>(first);
}

__global__ void __launch_bounds__(block) check_values_kernel(CheckValuesArgs a, Finding* finding) {
  const ElementIndex first = first_bad(a);
  if (threadIdx.x == 0 && first != no_finding) tell(a, first, finding);
}

__global__ void __launch_bounds__(block) check_parts_kernel(CheckValuesArgs a, ElementIndex* firsts) {
  const ElementIndex first = first_bad(a);
  if (threadIdx.x == 0) firsts[blockIdx.x] = first;
}

__global__ void __launch_bounds__(block)
    join_parts_kernel(CheckValuesArgs a, const ElementIndex* firsts, int parts, Finding* finding) {
  ElementIndex first = no_finding;
  for (int i = static_cast<int>(threadIdx.x); i < parts; i += block)
    first = SmallerIndex::combine(first, firsts[i]);
  first = block_reduce<SmallerIndex, block>(first);
  if (threadIdx.x == 0 && first != no_finding) tell(a, first, finding);
}

}  // namespace

void find_bad_value(Stream& stream, const CheckValuesArgs& args, Finding* finding) {
  if (args.count <= small) {
    launch_grid<block>(stream, check_values_kernel, 1, args, finding);
    return;
  }
  const std::int64_t wanted = ceil_div(args.count, small);
  const int parts = static_cast<int>(wanted < most_blocks ? wanted : most_blocks);
  const Workspace firsts(stream, static_cast<std::size_t>(parts) * sizeof(ElementIndex));
  launch_grid<block>(stream, check_parts_kernel, static_cast<unsigned>(parts), args,
                     firsts.data<ElementIndex>());
  launch_grid<block>(stream, join_parts_kernel, 1, args, firsts.data<ElementIndex>(), parts, finding);
}

}  // namespace weft::cuda
