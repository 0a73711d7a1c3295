// Matrix products in float64 by tiles of 64 x 64, 8 x 4 sums a thread (gemm_tiles.h), with K in parts where C
// alone has too few tiles. An SM of an H200 does 64 multiply-adds a cycle, half of float's, and a warp's
// loads from shared memory are twice as long.
#include "cuda/gemm_parts.h"
#include "cuda/gemm_products.h"
#include "cuda/gemm_tiles.h"

namespace weft::cuda {

namespace {

using Only = Tile<double, 64, 64, 16, 1, 4, 1, 3, 2>;
constexpr TileShape tiles[] = {tile_shape<Only>(0.5)};

}  // namespace

void multiply_tiled(Stream& stream, const Product<double, double>& p) {
  const TilePlan plan = plan_product(stream, p, 64, tiles, 1);
  multiply_in_parts(stream, p, plan.parts, [&](const Product<double, double>& q, int parts) {
    multiply_tiles<Only, false>(stream, q, parts);
  });
}

}  // namespace weft::cuda
