#include "cuda/tile_plan.h"

namespace weft::cuda {

namespace {

// In cycles, at the 1.75 GHz that an H200 keeps. Nothing here is measured: they are estimates.
constexpr double ends = 1500;             // two ways to memory and back, and a tile's sums on their way there
constexpr double second_launch = 3500;    // 2 us: what a node of a graph costs (docs/cuda.md)
constexpr double bytes_per_cycle = 1430;  // 2.5 TB/s: about half the L2's rate, as a launch this short gets
// Parts' sums beyond the L2 (50 MB) would go through the memory.
constexpr double most_workspace = 64e6;
constexpr int fewest_steps = 3;  // of a part: with fewer the ring of stages is never full

std::int64_t up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// What part of the rate is left where an SM has so many warps. One on each of its four schedulers waits for
// its own loads and barriers; of two, one mostly works while the other waits.
double hidden(int warps) { return warps >= 9 ? 1 : 0.4 + 0.067 * warps; }

std::int64_t sums_of(const TiledProduct& p) { return p.rows * p.columns * p.copies; }

double cycles(int multiprocessors, double multiply_adds, const TileShape& tile, const TiledProduct& product,
              std::int64_t steps, int parts) {
  const std::int64_t blocks =
      up(product.rows, tile.rows) * up(product.columns, tile.columns) * product.copies * parts;
  const std::int64_t each = up(blocks, multiprocessors);
  const int together = each < tile.resident ? static_cast<int>(each) : tile.resident;
  const double rate =
      multiply_adds * tile.efficiency * hidden(together * tile.warps) / hidden(tile.resident * tile.warps);
  const double work = static_cast<double>(steps) * tile.depth * tile.rows * tile.columns;
  const double turns = static_cast<double>(each) / tile.resident;
  double time = static_cast<double>(each) * work / rate + ends * (turns < 1 ? 1 : turns);
  if (parts > 1) {
    const double moved = 2.0 * parts * static_cast<double>(sums_of(product)) * product.sum_bytes;
    time += second_launch + moved / bytes_per_cycle;
  }
  return time;
}

}  // namespace

TilePlan plan_tiles(int multiprocessors, double multiply_adds, const TileShape* tiles, int count,
                    const TiledProduct& product) {
  constexpr int choices[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 28, 32, 48, 64, 96, 128};
  TilePlan best{0, 1};
  double least = -1;
  for (int t = 0; t < count; ++t) {
    const std::int64_t steps = up(product.depth, tiles[t].depth);
    for (const int wanted : choices) {
      const std::int64_t of_part = up(steps, wanted);
      const int parts = steps == 0 ? 1 : static_cast<int>(up(steps, of_part));  // without empty ones
      const double bytes = static_cast<double>(parts * sums_of(product)) * product.sum_bytes;
      if (parts > 1 && (of_part < fewest_steps || bytes > most_workspace)) break;
      const double time = cycles(multiprocessors, multiply_adds, tiles[t], product, of_part, parts);
      if (least >= 0 && time >= least) continue;
      least = time;
      best = {t, parts};
    }
  }
  return best;
}

}  // namespace weft::cuda
