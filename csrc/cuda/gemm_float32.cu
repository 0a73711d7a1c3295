// Matrix products in float32 by tiles (device/tile.h, gemm_tiles.h), with K in parts where C alone has too
// few tiles.
//
//   large    128 x 128, 8 x 8 sums a thread, 256 threads, two blocks an SM (at most 128 registers a thread)
//   middle    64 x  64, 8 x 4 sums a thread, 128 threads, four blocks an SM
//   small     32 x  32, 4 x 8 sums a thread; four warps, each with a quarter of every stage's k
//
// Of a warp's instructions in the large tile's loop 1024 of about 1150 (operands of 16 bytes a copy) to 1200
// (operands that are turned, an element a copy) are FFMA, 64 are loads of 16 bytes from shared memory, in 2
// passes each: half of its time. So 85 to 89% of the FMA peak of 60 TFLOP/s on an H200 at most. Full rounds
// of tiles: 4096^3 has 1024 tiles in 3.9 rounds of 2 x 132, 97%; expected are 48 TFLOP/s, 2.9 ms. A stage is
// 4 x 16 x (132 + 132) x 4 / 4 = 17 KB, four of them 68 KB a block. Each element of A is read from L2 N / 128
// times: 4096^3 moves 4.3 GB in 2.9 ms. The middle tile does 32 multiply-adds for 3 loads: shared memory is
// busy 75% of the time; about 70% of the peak.
#include "cuda/gemm_parts.h"
#include "cuda/gemm_plan.h"
#include "cuda/gemm_products.h"
#include "cuda/gemm_tiles.h"

namespace weft::cuda {

namespace {

using Large = Tile<float, 128, 128, 16, 2, 4>;
using Middle = Tile<float, 64, 64, 16, 1, 4, 1, 4, 4>;
using Small = Tile<float, 32, 32, 32, 1, 1, 4, 4, 4>;

// An SM does 128 multiply-adds a cycle at about 1.75 GHz.
constexpr double peak = 128 * 1750;
constexpr TileShape tiles[] = {
    {128, 128, 16, 0.8 * peak}, {64, 64, 16, 0.65 * peak}, {32, 32, 32, 0.35 * peak}};

}  // namespace

void multiply_tiled(Stream& stream, const Product<float, float>& p) {
  const TilePlan plan =
      plan_tiles(tiles, properties(stream).multiprocessors, p.batch, p.M, p.N, p.K, sizeof(float));
  multiply_in_parts(stream, p, plan.parts, [&](const Product<float, float>& q, int parts) {
    if (plan.tile == 0) return multiply_tiles<Large, true>(stream, q, parts);
    if (plan.tile == 1) return multiply_tiles<Middle, true>(stream, q, parts);
    multiply_tiles<Small, false>(stream, q, parts);
  });
}

}  // namespace weft::cuda
