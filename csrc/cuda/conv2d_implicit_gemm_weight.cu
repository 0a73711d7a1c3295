// The weight's gradient of a convolution as one matrix product without a matrix of columns in memory, in
// float32.
//
//   dw[k, tap] = sum over pixel of dout[pixel, k] * x[pixel + tap],   pixel (n, p, q), tap (c, r, s)
//
// Layout: the tile's rows are k, its columns taps, and the sum goes over all pixels. With images row-major
// both operands have neighbouring pixels side by side: a warp copies 8 pixels of 4 rows, 32 bytes each, and
// columns are in the weight's order. With channels last both have channels side by side, which go by 16 bytes
// where their number is a multiple of 4; the columns' order is then (r, s, c).
//
// Method: cuda/device/tile.h, operands as in conv2d_implicit_gemm.h. K C/G R S is small beside the pixels:
// they are split among blocks, whose sums lie in a workspace and are added in order by a second launch.
//
// Cost: the products of the forward pass, 2 N P Q K C/G R S operations. Per stage of 16 pixels a thread of
// the 128 x 128 tile issues 1024 FFMA, 64 + 12 loads of shared memory and 16 copies of 4 bytes, half of them
// with some 14 instructions for address and padding: 75%; by 16 bytes 85%.
#include "cuda/conv2d.h"
#include "cuda/conv2d_implicit_gemm.h"
#include "cuda/sum_parts.h"
#include "cuda/tile_plan.h"

namespace weft::cuda {

namespace {

constexpr int depth_step = 16, slots = 4;

enum class Order { row_major, channels_last, channels_last_by_4 };

struct Product {
  GatherImage x;
  const float* dout;
  float* dw;                // or the parts' sums
  std::int64_t part;        // elements of dw; 0 without parts
  ImageSteps<int> in, out;  // of x, of dout
  int stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  int pixels, channels_in, channels_out, taps, columns, groups;  // of a group: columns = channels_in taps
  int splits, row_tiles, column_tiles;
  Divisor P, Q, of_taps, S, of_channels;
};

__device__ Entry pixel_entry(const Product& p, int pixel) {
  if (pixel >= p.pixels) return no_entry();
  int i, j;
  const int n = p.P.divide(p.Q.divide(pixel, j), i);
  const int h = i * p.stride_h - p.pad_top, w = j * p.stride_w - p.pad_left;
  return {n * p.in.n + h * p.in.h + w * p.in.w, h, w, n * p.out.n + i * p.out.h + j * p.out.w};
}

// other: where the sum belongs in the weight's filter.
template <bool ChannelsLast>
__device__ Entry column_entry(const Product& p, int column) {
  if (column >= p.columns) return no_entry();
  int c, tap, s;
  if (ChannelsLast)
    tap = p.of_channels.divide(column, c);
  else
    c = p.of_taps.divide(column, tap);
  const int h = p.S.divide(tap, s) * p.dilation_h, w = s * p.dilation_w;
  return {c * p.in.c + h * p.in.h + w * p.in.w, h, w, c * p.taps + tap};
}

// to[k][i] = dout[along[k].other + i step] for i < rows, zeros else; neighbouring threads: 8 neighbouring k,
// then i.
template <class Tile>
__device__ __forceinline__ void dout_along(float* to, const float* dout, int step, int rows,
                                           const Entry* along) {
#pragma unroll
  for (int part = 0; part < Tile::BK / 8; ++part) {
    const int k = threadIdx.x % 8 + part * 8, offset = along[k].other;
#pragma unroll
    for (int r = 0; r < Tile::BM * 8 / Tile::threads; ++r) {
      const int i = threadIdx.x / 8 + r * (Tile::threads / 8);
      cp_async<4>(to + k * Tile::pitch_a + i, dout + (offset + i * step), offset >= 0 && i < rows);
    }
  }
}

// The same where step is 1; neighbouring threads: neighbouring i, `Width` together.
template <class Tile, int Width>
__device__ __forceinline__ void dout_across(float* to, const float* dout, int rows, const Entry* along) {
  constexpr int groups = Tile::BM / Width, step = Tile::threads / groups;
  static_assert(Tile::threads % groups == 0 && Tile::BK % step == 0);
  const int i = threadIdx.x % groups * Width;
#pragma unroll
  for (int r = 0; r < Tile::BK / step; ++r) {
    const int k = threadIdx.x / groups + r * step;
    const int offset = along[k].other;
    cp_async<4 * Width>(to + k * Tile::pitch_a + i, dout + (offset + i), offset >= 0 && i < rows);
  }
}

template <class Tile, Order order>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    weights_kernel(const __grid_constant__ Product p) {
  constexpr bool last = order != Order::row_major;
  [[maybe_unused]] constexpr int width = order == Order::channels_last_by_4 ? 4 : 1;
  DYNAMIC_SHARED(float, ring);
  SHARED(Entry, columns, [Tile::BN]);
  SHARED(Entry, pixels, [slots][depth_step]);
  int job = static_cast<int>(blockIdx.x);
  const int row = job % p.row_tiles * Tile::BM;
  job /= p.row_tiles;
  const int column = job % p.column_tiles * Tile::BN;
  job /= p.column_tiles;
  const int group = job % p.groups, split = job / p.groups;
  const int all = (p.pixels + depth_step - 1) / depth_step, each = (all + p.splits - 1) / p.splits;
  const int begin = split * each, left = all - begin, steps = left < each ? (left < 0 ? 0 : left) : each;

  for (int i = threadIdx.x; i < Tile::BN; i += Tile::threads) columns[i] = column_entry<last>(p, column + i);
  const auto list_pixels = [&](int step, int i) {
    pixels[step % slots][i] = pixel_entry(p, (begin + step) * depth_step + i);
  };
  for (int i = threadIdx.x; i < Tile::Stages * depth_step; i += Tile::threads)
    list_pixels(i / depth_step, i % depth_step);
  __syncthreads();

  GatherImage x = p.x;
  x.data += group * p.channels_in * p.in.c;
  const float* dout = p.dout + (group * p.channels_out + row) * p.out.c;
  const int rows = p.channels_out - row;
  const auto load = [&](float* to, int step) {
    const Entry* along = pixels[step % slots];
    float* const b = to + Tile::stage_a;
    if constexpr (last) {
      dout_across<Tile, width>(to, dout, rows, along);
      gather_across<Tile::BN, Tile::BK, Tile::pitch_b, Tile::threads, width>(b, x, columns, along);
    } else {
      dout_along<Tile>(to, dout, p.out.c, rows, along);
      gather_along<Tile::BN, Tile::BK, Tile::pitch_b, Tile::threads>(b, x, columns, along);
    }
    if (step >= Tile::Stages - 1 && threadIdx.x < depth_step) list_pixels(step + 1, threadIdx.x);
  };
  float acc[Tile::TM][Tile::TN] = {};
  const auto at = Tile::place();
  multiply_along<Tile>(acc, ring, steps, at, load);

  float* const dw = p.dw + split * p.part + std::int64_t{group * p.channels_out + row} * p.columns;
  for_sums_of_column<Tile>(acc, ring, at, rows < Tile::BM ? rows : Tile::BM, [&](int i, int r, float sum) {
    if (columns[i].other >= 0) dw[std::int64_t{r} * p.columns + columns[i].other] = sum;
  });
}

template <class Tile, Order order>
void launch_tiles(Stream& stream, Product p) {
  p.row_tiles = ceil_div(p.channels_out, Tile::BM);
  p.column_tiles = ceil_div(p.columns, Tile::BN);
  const auto blocks = static_cast<unsigned>(p.row_tiles * p.column_tiles * p.groups * p.splits);
  allow_shared(weights_kernel<Tile, order>, Tile::shared_bytes);
  launch(weights_kernel<Tile, order>, dim3(blocks), dim3(Tile::threads), Tile::shared_bytes, handle(stream),
         p);
}

using Large = Tile<float, 128, 128, depth_step, 2, 4, 1, 3, 2>;
using Broad = Tile<float, 64, 128, depth_step, 1, 4, 1, 3, 3>;
using Middle = Tile<float, 64, 64, depth_step, 2, 2, 1, 3, 4>;
using Narrow = Tile<float, 32, 128, depth_step, 1, 4, 1, 3, 4>;
// 75% of the large one's instructions are multiply-adds.
constexpr TileShape shapes[] = {tile_shape<Large>(0.75), tile_shape<Broad>(0.7), tile_shape<Middle>(0.6),
                                tile_shape<Narrow>(0.525)};

template <Order order>
void launch_shape(Stream& stream, const Product& p, int tile) {
  switch (tile) {
    case 0: return launch_tiles<Large, order>(stream, p);
    case 1: return launch_tiles<Broad, order>(stream, p);
    case 2: return launch_tiles<Middle, order>(stream, p);
    default: return launch_tiles<Narrow, order>(stream, p);
  }
}

void launch_order(Stream& stream, const Product& p, bool last, bool by_4, int tile) {
  if (!last) return launch_shape<Order::row_major>(stream, p, tile);
  if (by_4) return launch_shape<Order::channels_last_by_4>(stream, p, tile);
  launch_shape<Order::channels_last>(stream, p, tile);
}

Product product_of(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& c = a.p;
  const auto narrow = [](std::int64_t n) { return static_cast<int>(n); };
  Product p{};
  p.x = {static_cast<const float*>(a.x), narrow(c.H), narrow(c.W)};
  p.dout = static_cast<const float*>(a.dout);
  p.dw = static_cast<float*>(a.dw);
  p.in = image_steps<int>(c.channels_last, c.C, c.H, c.W);
  p.out = image_steps<int>(c.channels_last, c.K, c.P, c.Q);
  p.stride_h = narrow(c.stride_h), p.stride_w = narrow(c.stride_w);
  p.pad_top = narrow(c.pad_top), p.pad_left = narrow(c.pad_left);
  p.dilation_h = narrow(c.dilation_h), p.dilation_w = narrow(c.dilation_w);
  p.pixels = narrow(c.N * c.P * c.Q);
  p.groups = narrow(c.groups);
  p.channels_in = narrow(c.C / c.groups), p.channels_out = narrow(c.K / c.groups);
  p.taps = narrow(c.R * c.S);
  p.columns = p.channels_in * p.taps;
  p.P = Divisor(c.P), p.Q = Divisor(c.Q), p.of_taps = Divisor(p.taps), p.S = Divisor(c.S);
  p.of_channels = Divisor(p.channels_in);
  return p;
}

}  // namespace

bool conv2d_implicit_gemm_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& c = a.p;
  if (!conv2d_takes_implicit_gemm(c, a.dtype)) return false;
  Product p = product_of(a);
  const TilePlan plan = plan_tiles(properties(stream).multiprocessors, 128, shapes, 4,
                                   {p.channels_out, p.columns, p.pixels, p.groups, sizeof(float)});
  const bool by_4 = p.channels_in % 4 == 0 && p.channels_out % 4 == 0 && aligned(a.x) && aligned(a.dout);
  p.splits = plan.parts;
  if (plan.parts == 1) {
    launch_order(stream, p, c.channels_last, by_4, plan.tile);
    return true;
  }
  const std::int64_t count = c.K * p.columns;
  const Workspace parts(stream, static_cast<std::size_t>(plan.parts * count) * sizeof(float));
  const StoreSum<float> store{p.dw};
  p.dw = parts.data<float>();
  p.part = count;
  launch_order(stream, p, c.channels_last, by_4, plan.tile);
  sum_parts(stream, p.dw, count, plan.parts, store);
  return true;
}

}  // namespace weft::cuda
