// Matrix products of bfloat16 in the units for float32.
#include "cuda/gemm_parts.h"
#include "cuda/gemm_products.h"
#include "cuda/gemm_tiles.h"

namespace weft::cuda {

namespace {

using Only = Tile<float, 64, 64, 16, 1, 4, 1, 2, 4>;
constexpr TileShape tiles[] = {tile_shape<Only>(0.4)};

}  // namespace

template <class Out>
void multiply_tiled(Stream& stream, const Product<BFloat16, Out>& p) {
  const TilePlan plan = plan_product(stream, p, 128, tiles, 1);
  multiply_in_parts(stream, p, plan.parts,
                    [&](const auto& q, int parts) { multiply_tiles<Only, false>(stream, q, parts); });
}
template void multiply_tiled(Stream&, const Product<BFloat16, BFloat16>&);
template void multiply_tiled(Stream&, const Product<BFloat16, float>&);

}  // namespace weft::cuda
