// A stable sort of whole numbers with their positions.
#pragma once
#include "cuda/launch.h"

namespace weft::cuda {

// Memory that sorting `count` keys takes, in words of 4 bytes.
std::size_t sort_words(unsigned count);

// `keys` in ascending order and where each came from; equal ones stay in the order of their positions.
struct SortedKeys {
  unsigned *keys, *positions;
};

// Sorts keys[0] .. keys[count - 1], all below 2^bits. `workspace` has sort_words(count); both it and `keys`
// may be where the result lies.
SortedKeys sort_keys(const Stream& stream, unsigned* keys, unsigned count, int bits, unsigned* workspace);

}  // namespace weft::cuda
