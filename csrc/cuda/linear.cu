// The gradients of the fully connected layer; see ops/linear.h. The policy:
//
//   small     float32, work of a few microseconds: all three in one launch
//   composed  all else: g to a workspace where there is an activation, the two products, the sum
//
// Small. The first blocks make the 32 x 32 tiles of dw, the others those of dx, each as a tiled product
// (device/tile.h) of four warps, each with a quarter of every stage's k:
//
//   dw   A = g^T (O, M), B = x (M, I)        dx   A = g (M, O), B = weight (O, I)
//
// Beside dout comes y, by copies of the same elements by the same threads: so a thread makes g of what it
// copied itself, before the barrier that the stage needs anyway. The blocks of dw's first column of tiles
// have all of g for their rows of dw in shared memory: they add up db, in double, in the order of the stages.
//
// A stage is 256 multiply-adds of a warp and 24 copies of 4 bytes a thread. LeNet's layers have at most 4
// stages in a block and one block an SM at batch 64, 16 stages at batch 512. Composed, they are five to seven
// launches.
#include "cuda/device/activation.h"
#include "cuda/device/reduce.h"
#include "cuda/gemm_tiles.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

using Small = Tile<float, 32, 32, 32, 1, 1, 4, 4, 4>;
constexpr int stage = Small::stage + Small::stage_a;  // A, B, and y in the places of A
constexpr std::size_t ring_bytes = sizeof(float) * Small::Stages * stage;
static_assert(ring_bytes >= Small::shared_bytes);

struct Layer {
  int M, I, O, tiles_i;
  unsigned dw_blocks;  // the first ones
  float *dx, *dw, *db;
  const float *dout, *y, *x, *weight;  // y: any memory without an activation
  std::int64_t dout_row, dout_column, x_row, x_column, weight_row, weight_column;
  Activation activation;
};

__device__ __forceinline__ float gradient(Activation activation, float dout, float y) {
  if (activation == Activation::relu) return activation_gradient(Activation::relu, dout, y, 0.0f);
  if (activation == Activation::tanh) return activation_gradient(Activation::tanh, dout, y, 0.0f);
  return activation_gradient(Activation::sigmoid, dout, y, 0.0f);
}

// db of the tile's rows of dw. part: this thread's sum, of row threadIdx.x % 32 and its warp's quarter of k.
__device__ __forceinline__ void store_db(float* db, int rows, double part) {
  SHARED(double, parts, [Small::Slices][warp_size]);
  const int row = threadIdx.x % warp_size;
  parts[threadIdx.x / warp_size][row] = part;
  __syncthreads();
  if (static_cast<int>(threadIdx.x) >= min(rows, warp_size)) return;
  double sum = parts[0][row];
#pragma unroll
  for (int s = 1; s < Small::Slices; ++s) sum += parts[s][row];
  db[row] = static_cast<float>(sum);
}

// One tile of dw (and db's part), or of dx.
template <bool OfWeight>
__device__ __forceinline__ void gradient_tile(const Layer& p, float* ring, int tile) {
  constexpr Access how = OfWeight ? Access::along_m : Access::along_k;
  using OfA = Operand<Small, Small::BM, how, float>;
  using OfB = Operand<Small, Small::BN, Access::along_m, float>;
  const int m = tile / p.tiles_i * Small::BM, n = tile % p.tiles_i * Small::BN;
  const int rows = OfWeight ? p.O : p.M, depth = OfWeight ? p.M : p.O;
  OfA dout(p.dout, OfWeight ? p.dout_column : p.dout_row, OfWeight ? p.dout_row : p.dout_column, m, rows, 0);
  OfA y(p.y, OfWeight ? 1 : p.O, OfWeight ? p.O : 1, m, rows, 0);
  OfB b(OfWeight ? p.x : p.weight, OfWeight ? p.x_column : p.weight_column, OfWeight ? p.x_row : p.weight_row,
        n, p.I, 0);
  const Small::Place at = Small::place();
  const bool activated = p.activation != Activation::none, adds = OfWeight && p.db && n == 0;
  float acc[Small::TM][Small::TN] = {};
  double part = 0;
  for_each_stage<Small::Stages>(
      (depth + Small::BK - 1) / Small::BK,
      [&](int place, int step) {
        float* const to = ring + place * stage;
        const int left = min(depth - step * Small::BK, Small::BK);
        dout.load(to, left);
        b.load(to + Small::stage_a, left);
        if (activated) y.load(to + Small::stage, left);
      },
      [&](int place) {
        const float* const g = ring + place * stage;
        multiply_stage<Small>(acc, g, at);
        if (adds) {
          constexpr int ks = Small::BK / Small::Slices;
#pragma unroll
          for (int k = 0; k < ks; ++k)
            part += g[(threadIdx.x / warp_size * ks + k) * Small::pitch_a + threadIdx.x % warp_size];
        }
      },
      [&](int place) {
        if (!activated) return;
        float* const g = ring + place * stage;
        OfA::for_each_own([&](int i) { g[i] = gradient(p.activation, g[i], g[Small::stage + i]); });
      });
  float* const out = (OfWeight ? p.dw : p.dx) + static_cast<std::int64_t>(m) * p.I + n;
  for_each_sum<Small>(acc, ring, at, min(rows - m, Small::BM), min(p.I - n, Small::BN),
                      [&](int i, int j, float sum) { out[static_cast<std::int64_t>(i) * p.I + j] = sum; });
  if (adds) store_db(p.db + m, rows - m, part);
}

__global__ void __launch_bounds__(Small::threads, Small::blocks) linear_backward_kernel(Layer p) {
  DYNAMIC_SHARED(float, ring);
  if (blockIdx.x < p.dw_blocks)
    gradient_tile<true>(p, ring, static_cast<int>(blockIdx.x));
  else
    gradient_tile<false>(p, ring, static_cast<int>(blockIdx.x - p.dw_blocks));
}

// Whether it is so little work that the launches of products made apart cost more than their larger tiles
// bring.
bool is_small(const Stream& stream, const LinearBackwardArgs& a) {
  constexpr std::int64_t most_stages = 32;  // of a block, and of all blocks of an SM together
  if (a.dtype != DType::float32 || a.M == 0 || a.O == 0 || a.I == 0 || (a.db && !a.dw)) return false;
  const std::int64_t of_dw = ceil_div(a.M, Small::BK), of_dx = ceil_div(a.O, Small::BK);
  if (of_dw > most_stages || of_dx > most_stages) return false;
  const std::int64_t tiles_i = ceil_div(a.I, Small::BN);
  const std::int64_t all = (a.dw ? ceil_div(a.O, Small::BM) * tiles_i * of_dw : 0) +
                           (a.dx ? ceil_div(a.M, Small::BM) * tiles_i * of_dx : 0);
  return all <= most_stages * properties(stream).multiprocessors;
}

void at_once(Stream& stream, const LinearBackwardArgs& a) {
  const auto numbers = [](const Matrix& m) { return static_cast<const float*>(m.data); };
  Layer p{};
  p.M = static_cast<int>(a.M), p.I = static_cast<int>(a.I), p.O = static_cast<int>(a.O);
  p.tiles_i = ceil_div(p.I, Small::BN);
  p.dw_blocks = static_cast<unsigned>(a.dw ? ceil_div(p.O, Small::BM) * p.tiles_i : 0);
  const auto dx_blocks = static_cast<unsigned>(a.dx ? ceil_div(p.M, Small::BM) * p.tiles_i : 0);
  p.dx = static_cast<float*>(a.dx), p.dw = static_cast<float*>(a.dw), p.db = static_cast<float*>(a.db);
  p.dout = numbers(a.dout), p.x = numbers(a.x), p.weight = numbers(a.weight);
  p.y = a.y ? static_cast<const float*>(a.y) : p.dout;
  p.dout_row = a.dout.row_stride, p.dout_column = a.dout.column_stride;
  p.x_row = a.x.row_stride, p.x_column = a.x.column_stride;
  p.weight_row = a.weight.row_stride, p.weight_column = a.weight.column_stride;
  p.activation = a.activation;
  allow_shared(linear_backward_kernel, ring_bytes);
  launch(linear_backward_kernel, dim3(p.dw_blocks + dx_blocks), dim3(Small::threads), ring_bytes,
         handle(stream), p);
}

}  // namespace

void linear_backward(Stream& stream, const LinearBackwardArgs& given) {
  if (is_small(stream, given)) return at_once(stream, given);
  LinearBackwardArgs a = given;
  const bool activated = a.activation != Activation::none && a.M * a.O > 0;
  const Workspace g(stream, activated ? static_cast<std::size_t>(a.M * a.O) * itemsize(a.dtype) : 0);
  if (activated) {
    activation_backward(stream, gradient_of_sums(a, g.data<void>()));
    a.dout.data = g.data<void>();
  }
  if (a.dx) gemm(stream, product_dx(a));
  if (a.dw) gemm(stream, product_dw(a));
  if (a.db) reduce(stream, sum_db(a));
}

}  // namespace weft::cuda
