// Matrix products in float32 by tiles (device/tile.h, gemm_tiles.h), with K in parts where C alone has too
// few tiles.
//
//   huge     256 x 128, 16 x 8 sums a thread, 256 threads, one block an SM (255 registers a thread)
//   large    128 x 128,  8 x 8 sums a thread, 256 threads, two blocks an SM (128 registers)
//   middle    64 x  64,  8 x 4 sums a thread, 128 threads, four blocks an SM
//   small     32 x  32,  4 x 8 sums a thread; four warps, each with a quarter of every stage's k
//   narrow    32 x  16,  4 x 4 sums a thread; eight warps, each with an eighth: where the sums are few, twice
//             the blocks and warps cost less than the second launch for a K in parts
//
// Of the instructions that a warp issues for a stage, FFMA are (sm_90; operands of 16 bytes a copy, or turned
// with an element a copy): huge 2048 of 2228 or 2295, large 1024 of 1163 or 1210. So at most 92% and 88% of
// the FMA peak. Loads of 16 bytes from shared memory, in two passes each, keep it busy 37% of that time in
// the huge tile, 50% in the large one, 75% in the middle one. Full rounds: 4096^3 has 512 huge tiles in 3.9
// rounds of an H200's 132 SMs, 97%. A is read from L2 N / 128 times and B M / 256 times: 3.2 GB at 4096^3, a
// tenth of what the L2 can give.
#include "cuda/gemm_parts.h"
#include "cuda/gemm_products.h"
#include "cuda/gemm_tiles.h"

namespace weft::cuda {

namespace {

using Huge = Tile<float, 256, 128, 16, 4, 2, 1, 3, 1>;
using Large = Tile<float, 128, 128, 16, 2, 4>;
using Middle = Tile<float, 64, 64, 16, 1, 4, 1, 4, 4>;
using Small = Tile<float, 32, 32, 32, 1, 1, 4, 4, 4>;
using Narrow = Tile<float, 32, 16, 64, 1, 1, 8, 3, 4>;

// By the share of multiply-adds among the instructions, less some stalls at barriers. Small and narrow:
// shared memory is busy with loads and copies of single elements 100% and 137% of the time that their
// multiply-adds would take, the middle tile's 75%.
constexpr TileShape tiles[] = {tile_shape<Small>(0.45), tile_shape<Narrow>(0.35), tile_shape<Middle>(0.65),
                               tile_shape<Large>(0.8), tile_shape<Huge>(0.84)};

}  // namespace

void multiply_tiled(Stream& stream, const Product<float, float>& p) {
  const int fitting = Huge::shared_bytes <= properties(stream).shared_per_block ? 5 : 4;
  const TilePlan plan = plan_product(stream, p, 128, tiles, fitting);
  multiply_in_parts(stream, p, plan.parts, [&](const Product<float, float>& q, int parts) {
    if (plan.tile == 4) return multiply_tiles<Huge, true>(stream, q, parts);
    if (plan.tile == 3) return multiply_tiles<Large, true>(stream, q, parts);
    if (plan.tile == 2) return multiply_tiles<Middle, true>(stream, q, parts);
    if (plan.tile == 1) return multiply_tiles<Narrow, false>(stream, q, parts);
    multiply_tiles<Small, false>(stream, q, parts);
  });
}

}  // namespace weft::cuda
