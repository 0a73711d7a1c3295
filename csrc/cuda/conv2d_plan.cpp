#include "cuda/conv2d_plan.h"

namespace weft::cuda {

namespace {

constexpr double per_cycle = 128;         // multiply-adds of an SM
constexpr double ends = 1500;             // cycles: a block's first copies and its results
constexpr double second_launch = 4000;    // cycles
constexpr double bytes_per_cycle = 2000;  // of the device's memory

std::int64_t up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

double cycles(int multiprocessors, const TileShape& shape, const ProductShape& product, std::int64_t depth,
              int splits) {
  const double blocks = static_cast<double>(up(product.rows, shape.rows) *
                                            up(product.columns, shape.columns) * product.copies * splits);
  const double each = static_cast<double>(up(static_cast<std::int64_t>(blocks), multiprocessors));
  // A scheduler that has two warps hides most of a multiply-add's latency, one that has one does not.
  const double warps = each * shape.warps, hidden = warps >= 9 ? 1 : 0.4 + 0.067 * warps;
  const double block =
      static_cast<double>(shape.rows) * shape.columns * static_cast<double>(depth) / per_cycle;
  double time = each * block / (shape.efficiency * hidden) + ends * (each < 2 ? 1 : each / 2);
  if (splits > 1) {
    const double sums = static_cast<double>(product.rows * product.columns * product.copies);
    time += second_launch + sums * 4 * (2 * splits + 1) / bytes_per_cycle;
  }
  return time;
}

}  // namespace

Plan plan_tiles(int multiprocessors, const TileShape* shapes, int count, const ProductShape& product,
                int step) {
  constexpr int choices[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
  Plan best{0, 1};
  double least = -1;
  const std::int64_t steps = up(product.depth, step);
  for (int tile = 0; tile < count; ++tile)
    for (const int splits : choices) {
      const std::int64_t part = up(steps, splits);
      if (splits > 1 && (part < 4 || up(steps, part) != splits)) continue;  // too short, or an empty part
      const double time = cycles(multiprocessors, shapes[tile], product, part * step, splits);
      if (least >= 0 && time >= least) continue;
      least = time;
      best = {tile, splits};
    }
  return best;
}

}  // namespace weft::cuda
