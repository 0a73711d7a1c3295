// Which tile, and in how many parts K is cut: what a model of the device says takes the least time.
#pragma once
#include "cuda/launch.h"

namespace weft::cuda {

struct ProductTile {
  int BM, BN, BK;
  double speed;  // multiply-adds an SM does in a microsecond, with one or two blocks of this tile
};
struct ProductPlan {
  int tile, parts;
};

// Blocks run in rounds, one to an SM; a block's time is that of its multiply-adds. Several parts cost a
// second launch and their way through the L2.
inline ProductPlan plan_product(const ProductTile* tiles, int count, int multiprocessors, std::int64_t batch,
                                std::int64_t M, std::int64_t N, std::int64_t K, int size_of_sum) {
  constexpr int most_parts = 32, fewest_steps = 2;
  constexpr double second_launch = 2, l2_bytes = 2.5e6, workspace = 64e6;  // in us, bytes in a us, bytes
  ProductPlan best{0, 1};
  double least = -1;
  for (int t = 0; t < count; ++t) {
    const ProductTile& tile = tiles[t];
    const std::int64_t blocks = ceil_div(M, tile.BM) * ceil_div(N, tile.BN) * batch,
                       steps = ceil_div(K, tile.BK);
    for (int wanted = 1; wanted <= most_parts; wanted += wanted < 8 ? 1 : 4) {
      const std::int64_t of_part = ceil_div(steps, wanted);
      if (wanted > 1 && of_part < fewest_steps) break;
      const int parts = steps == 0 ? 1 : static_cast<int>(ceil_div(steps, of_part));
      const double products = static_cast<double>(of_part) * tile.BK * tile.BM * tile.BN;
      double time = static_cast<double>(ceil_div(blocks * parts, multiprocessors)) * products / tile.speed;
      const double moved = 2.0 * parts * static_cast<double>(batch * M * N) * size_of_sum;
      if (parts > 1 && moved / 2 > workspace) break;
      if (parts > 1) time += second_launch + moved / l2_bytes;
      if (least < 0 || time < least) {
        least = time;
        best = {t, parts};
      }
    }
  }
  return best;
}

}  // namespace weft::cuda
