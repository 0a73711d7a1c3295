// How a product is cut for the device: the tile of a block, and the parts of the sums' depth (K of a matrix
// product, the taps or pixels of a convolution), so that there are blocks for all SMs.
//
// The choice is the one that takes the fewest cycles of an SM by this model:
//
//   blocks     are dealt out evenly; the SM with the most of them is done last
//   a block    its tile's multiply-adds, as if all its rows and columns existed, at the SM's rate times the
//              tile's efficiency; slower while the SM has too few warps to hide latencies
//   its ends   its first copies and its results, which blocks that share the SM overlap
//   parts      a second launch, and the sums' way to the L2 and back
//
// Operands' way through the memory is no part of it: tiles this size wait for multiply-adds.
#pragma once
#include <cstdint>

namespace weft::cuda {

struct TileShape {
  int rows, columns, depth;  // of a block's sums; depth: of one step along the products of a sum
  int warps, resident;       // of a block; blocks that an SM holds at once
  double efficiency;         // of the SM's multiply-adds, with `resident` blocks on it
};

// Of a Tile of device/tile.h.
template <class Tile>
constexpr TileShape tile_shape(double efficiency) {
  return {Tile::BM, Tile::BN, Tile::BK, Tile::threads / 32, Tile::blocks, efficiency};
}

// `copies` products of rows x columns sums, each of `depth` products.
struct TiledProduct {
  std::int64_t rows, columns, depth, copies;
  int sum_bytes;  // of a part's sum
};

struct TilePlan {
  int tile;   // index into the tiles
  int parts;  // of the depth, none of them empty: ceil(steps / parts) steps each, the last one fewer
};

// multiply_adds: of an SM in a cycle.
TilePlan plan_tiles(int multiprocessors, double multiply_adds, const TileShape* tiles, int count,
                    const TiledProduct& product);

}  // namespace weft::cuda
