// How a convolution as a matrix product is cut into tiles: a host-side estimate of the time of each choice.
#pragma once
#include <cstdint>

namespace weft::cuda {

struct TileShape {
  int rows, columns, warps;
  double efficiency;  // of the multiply-adds that an SM filled with such tiles could do
};

// `copies` products of rows x columns sums of `depth` products each.
struct ProductShape {
  std::int64_t rows, columns, depth, copies;
};

struct Plan {
  int tile;    // index into the shapes
  int splits;  // parts of the depth, whose sums a second launch adds
};

// The quickest, by blocks per SM, the multiply-adds of a block, what starts and ends it, and the second
// launch.
Plan plan_tiles(int multiprocessors, const TileShape* shapes, int count, const ProductShape& product,
                int step);

}  // namespace weft::cuda
