// Convolution forward and dx as one matrix product without a matrix of columns in memory, in float32.
//
//   out[pixel, channel] = sum over tap of image[pixel + tap] * weight[tap, channel]
//
// forward   image = x, pixel (n, p, q), tap (c, r, s)
// dx        image = dout, tap (k, r, s) with steps backwards. With a stride, pixels of dx differ in which
//           taps met them: those of equal (h mod stride_h, w mod stride_w), a phase, have the same ones, and
//           each phase is a product of its own with 1 / (stride_h stride_w) of the taps, so that no product
//           with a zero is made. The phases go in one launch, the longest first.
//
// Layout: with images row-major the tile's rows are channels and its columns pixels, the order of taps (c, r,
// s): a warp copies 32 neighbouring pixels of one tap. With channels last the rows are pixels, the columns
// channels, the order (r, s, c): a warp copies 8 channels of 4 pixels, 32 bytes each. Both ways neighbouring
// threads store neighbours. 1x1 with stride 1 has pixels that go by 16 bytes. The weight is first brought
// into the order [group][phase][tap][channel] in a workspace, so that the loop copies it by 16 bytes; a few
// microseconds.
//
// Method: cuda/device/tile.h. A group is a product of its own. Where there are fewer tiles than the device
// has SMs, the taps are split, and a second launch adds the parts in order (tile_plan.h chooses).
//
// Cost, for 2 N P Q K C/G R S floating-point operations: per stage of 16 taps a thread of the
// 128 x 128 tile issues 1024 FFMA, 64 loads of shared memory, 8 copies with some 14 instructions each for
// their address and the padding, and 2 copies of the weight: by the machine code 79% are FFMA, 84% where
// pixels go by fours, 73% with 64 channels. ResNet-50's 3x3 of 64 channels at 56x56, batch 32, has 7.4 GFLOP
// and 51 MB, whose way to and from the memory takes a tenth of the time. Source: Chetlur et al., "cuDNN:
// efficient primitives for deep learning", 2014 (the product that is never stored).
#include "cuda/conv2d.h"
#include "cuda/conv2d_implicit_gemm.h"
#include "cuda/sum_parts.h"
#include "cuda/tile_plan.h"

namespace weft::cuda {

namespace {

constexpr int max_phases = 16, depth_step = 16, slots = 4;

// One axis of a phase: outputs first_out, first_out + out_step, ...; the i-th reads the image at
// origin + i pixel + tap step, tap < taps, which is tap first_tap + tap every_tap of the weight.
struct Axis {
  int count, first_out, out_step, origin, pixel, taps, step, first_tap, every_tap;
};

struct Phase {
  Axis h, w;
  int pixels, depth;       // N h.count w.count; channels_in h.taps w.taps
  int pixel_tiles, block;  // its tiles along the pixels; its first block
  std::int64_t weight;     // its first packed number
  Divisor rows, columns;   // h.count, w.count
  Divisor taps, taps_w;    // h.taps w.taps, w.taps
};

struct Product {
  GatherImage image;
  const float* weight;  // packed: [phase][group][tap][pitch]
  const float* bias;
  float* out;              // or the parts' sums
  std::int64_t part;       // elements of out; 0 without parts
  ImageSteps<int> in, to;  // of the image, of the output
  int channels_in, channels_out, pitch, groups, splits, channel_tiles, phases;
  Divisor in_channels;
  bool relu;
  Phase phase[max_phases];
};

// The order of the images: of the tile's rows and columns, and of the taps.
enum class Order { row_major, row_major_by_4, channels_last };

template <class Tile_, Order order_>
struct Config {
  using Tile = Tile_;
  static constexpr Order order = order_;
  static constexpr bool last = order == Order::channels_last;
  static constexpr int pixels = last ? Tile::BM : Tile::BN, channels = last ? Tile::BN : Tile::BM;
};

__device__ Entry pixel_entry(const Product& p, const Phase& f, int pixel) {
  if (pixel >= f.pixels) return no_entry();
  int i, j;
  const int n = f.rows.divide(f.columns.divide(pixel, j), i);
  const int h = i * f.h.pixel + f.h.origin, w = j * f.w.pixel + f.w.origin;
  return {
      n * p.in.n + h * p.in.h + w * p.in.w, h, w,
      n * p.to.n + (f.h.first_out + i * f.h.out_step) * p.to.h + (f.w.first_out + j * f.w.out_step) * p.to.w};
}

template <bool ChannelsLast>
__device__ Entry tap_entry(const Product& p, const Phase& f, int k) {
  if (k >= f.depth) return no_entry();
  int c, tap, s;
  if (ChannelsLast)
    tap = p.in_channels.divide(k, c);
  else
    c = f.taps.divide(k, tap);
  const int h = f.taps_w.divide(tap, s) * f.h.step, w = s * f.w.step;
  return {c * p.in.c + h * p.in.h + w * p.in.w, h, w, 0};
}

template <class Config>
__global__ void __launch_bounds__(Config::Tile::threads, Config::Tile::blocks)
    images_kernel(const __grid_constant__ Product p) {
  using Tile = typename Config::Tile;
  constexpr bool last = Config::last;
  DYNAMIC_SHARED(float, ring);
  SHARED(Entry, pixels, [Config::pixels]);
  SHARED(Entry, taps, [slots][depth_step]);
  int phase = 0;
  while (phase + 1 < p.phases && static_cast<int>(blockIdx.x) >= p.phase[phase + 1].block) ++phase;
  const Phase& f = p.phase[phase];
  int job = static_cast<int>(blockIdx.x) - f.block;
  const int channel = job % p.channel_tiles * Config::channels;
  job /= p.channel_tiles;
  const int pixel = job % f.pixel_tiles * Config::pixels;
  job /= f.pixel_tiles;
  const int split = job % p.splits, group = job / p.splits;
  const int all = (f.depth + depth_step - 1) / depth_step, each = (all + p.splits - 1) / p.splits;
  const int begin = split * each, left = all - begin, steps = left < each ? (left < 0 ? 0 : left) : each;

  for (int i = threadIdx.x; i < Config::pixels; i += Tile::threads) pixels[i] = pixel_entry(p, f, pixel + i);
  const auto list_taps = [&](int step, int i) {
    taps[step % slots][i] = tap_entry<last>(p, f, (begin + step) * depth_step + i);
  };
  for (int i = threadIdx.x; i < Tile::Stages * depth_step; i += Tile::threads)
    list_taps(i / depth_step, i % depth_step);
  __syncthreads();

  GatherImage image = p.image;
  image.data += group * p.channels_in * p.in.c;
  const float* weight = p.weight + f.weight + (std::int64_t{group} * f.depth) * p.pitch + channel;
  const auto load = [&](float* to, int step) {
    const Entry* along = taps[step % slots];
    float* const a = to;
    float* const b = to + Tile::stage_a;
    const int k = (begin + step) * depth_step;
    const float* rows = weight + std::int64_t{k} * p.pitch;
    if constexpr (last) {
      gather_along<Tile::BM, depth_step, Tile::pitch_a, Tile::threads>(a, image, pixels, along);
      copy_rows<Tile::BN, depth_step, Tile::pitch_b, Tile::threads, 4>(b, rows, p.pitch, f.depth - k,
                                                                       p.pitch - channel);
    } else {
      copy_rows<Tile::BM, depth_step, Tile::pitch_a, Tile::threads, 4>(a, rows, p.pitch, f.depth - k,
                                                                       p.pitch - channel);
      gather_across<Tile::BN, depth_step, Tile::pitch_b, Tile::threads,
                    Config::order == Order::row_major_by_4 ? 4 : 1>(b, image, pixels, along);
    }
    if (step >= Tile::Stages - 1 && threadIdx.x < depth_step) list_taps(step + 1, threadIdx.x);
  };
  float acc[Tile::TM][Tile::TN] = {};
  const auto at = Tile::place();
  multiply_along<Tile>(acc, ring, steps, at, load);

  float* const out = p.out + split * p.part + std::int64_t{group} * p.channels_out * p.to.c;
  const float* const bias = p.bias ? p.bias + group * p.channels_out : nullptr;
  const int channels_left = p.channels_out - channel, pixels_left = f.pixels - pixel;
  const auto store = [&](const Entry& to, int i, float sum) {
    if (bias) sum += bias[channel + i];
    out[to.other + std::int64_t{channel + i} * p.to.c] = p.relu && sum <= 0 ? 0.f : sum;
  };
  if constexpr (last)
    for_sums_of_column<Tile>(acc, ring, at, pixels_left < Tile::BM ? pixels_left : Tile::BM,
                             [&](int i, int row, float sum) {
                               if (i < channels_left) store(pixels[row], i, sum);
                             });
  else
    for_sums_of_column<Tile>(acc, ring, at, channels_left < Tile::BM ? channels_left : Tile::BM,
                             [&](int i, int row, float sum) {
                               if (i < pixels_left) store(pixels[i], row, sum);
                             });
}

// An element of the images from its parts' sum: bias of channel i / inner % channels, and ReLU.
struct FinishImages {
  float* out;
  const float* bias;  // may be null
  std::int64_t inner, channels;
  bool relu;
  __device__ __forceinline__ void operator()(std::int64_t i, float sum) const {
    if (bias) sum += bias[i / inner % channels];
    out[i] = relu && sum <= 0 ? 0.f : sum;
  }
};

// The weight of one phase and group as [tap][channel], by squares of 32 x 32 that are read along the taps and
// written along the channels.
struct Packing {
  float* packed;
  const float* weight;
  bool forward, channels_last;
  int channels_in, channels_out, pitch, groups, R, S, phases;
  struct {
    int depth, taps, taps_w, first_r, first_s, every_r, every_s;
    std::int64_t begin;
  } phase[max_phases];
};
constexpr int square = 32, pack_rows = 8;

__global__ void __launch_bounds__(square* pack_rows) pack_kernel(const __grid_constant__ Packing p) {
  SHARED(float, turn, [square][square + 1]);
  const int x = threadIdx.x % square, y = threadIdx.x / square;
  for (int job = blockIdx.z; job < p.phases * p.groups; job += gridDim.z) {
    const auto& f = p.phase[job / p.groups];
    const int group = job % p.groups, k = blockIdx.x * square + x;
    const int channel = f.taps == 0 ? 0 : p.channels_last ? k % p.channels_in : k / f.taps;
    const int tap = f.taps == 0 ? 0 : p.channels_last ? k / p.channels_in : k % f.taps;
    const int r = f.first_r + (f.taps == 0 ? 0 : tap / f.taps_w) * f.every_r;
    const int s = f.first_s + (f.taps == 0 ? 0 : tap % f.taps_w) * f.every_s;
    for (int i = y; i < square; i += pack_rows) {
      const int out = blockIdx.y * square + i;
      float value = 0;
      if (k < f.depth && out < p.channels_out) {
        const std::int64_t of_group = std::int64_t{group} * p.channels_in * p.channels_out;
        const int pair = p.forward ? out * p.channels_in + channel : channel * p.channels_out + out;
        value = p.weight[((of_group + pair) * p.R + r) * p.S + s];
      }
      turn[i][x] = value;
    }
    __syncthreads();
    for (int i = y; i < square; i += pack_rows) {
      const int row = blockIdx.x * square + i, column = blockIdx.y * square + x;
      if (row < f.depth && column < p.pitch)
        p.packed[f.begin + (std::int64_t{group} * f.depth + row) * p.pitch + column] = turn[x][i];
    }
    __syncthreads();
  }
}

int greatest_divisor(int a, int b) { return b == 0 ? a : greatest_divisor(b, a % b); }

Axis forward_axis(std::int64_t out, std::int64_t stride, std::int64_t pad, std::int64_t dilation,
                  std::int64_t kernel) {
  return {static_cast<int>(out),
          0,
          1,
          static_cast<int>(-pad),
          static_cast<int>(stride),
          static_cast<int>(kernel),
          static_cast<int>(dilation),
          0,
          1};
}

// Pixels `first`, first + stride, ... of dx, and the taps that meet them: those where first + pad - tap
// dilation is a multiple of the stride, one in stride / gcd(stride, dilation).
Axis backward_axis(int first, int size, int stride, int pad, int dilation, int kernel) {
  const int every = stride / greatest_divisor(stride, dilation);
  int tap = 0;
  while (tap < every && (first + pad - tap * dilation) % stride != 0) ++tap;
  const int taps = tap < every && tap < kernel ? (kernel - tap - 1) / every + 1 : 0;
  const int origin = taps == 0 ? 0 : (first + pad - tap * dilation) / stride;
  return {(size - first + stride - 1) / stride, first, stride, origin, 1, taps,
          -(every * dilation / stride),         tap,   every};
}

Phase phase_of(const Axis& h, const Axis& w, std::int64_t images, int channels_in) {
  Phase f{};
  f.h = h;
  f.w = w;
  f.pixels = static_cast<int>(images) * h.count * w.count;
  f.depth = channels_in * h.taps * w.taps;
  f.rows = Divisor(h.count);
  f.columns = Divisor(w.count);
  f.taps = Divisor(h.taps * w.taps > 0 ? h.taps * w.taps : 1);
  f.taps_w = Divisor(w.taps > 0 ? w.taps : 1);
  return f;
}

// Pixels x channels, in the order of launch_shape. 79% of the first one's instructions are multiply-adds.
constexpr TileShape shapes[] = {{128, 128, depth_step, 8, 2, 0.79},
                                {128, 64, depth_step, 4, 3, 0.75},
                                {64, 64, depth_step, 4, 3, 0.63},
                                {128, 32, depth_step, 4, 4, 0.59}};

// Blocks: on an SM; 128 registers a thread, but 168 where 128 threads gather 16 numbers each in a stage.
template <int Pixels, int Channels, int WarpsP, int WarpsC, Order order>
struct Choose {
  static constexpr int blocks = 16 / (WarpsP * WarpsC);
  using type = Config<Tile<float, Channels, Pixels, depth_step, WarpsC, WarpsP, 1, 3, blocks>, order>;
};
template <int Pixels, int Channels, int WarpsP, int WarpsC>
struct Choose<Pixels, Channels, WarpsP, WarpsC, Order::channels_last> {
  static constexpr int blocks = WarpsP * WarpsC == 4 && Pixels * Channels > 128 * 32 ? 3
                                                                                     : 16 / (WarpsP * WarpsC);
  using type =
      Config<Tile<float, Pixels, Channels, depth_step, WarpsP, WarpsC, 1, 3, blocks>, Order::channels_last>;
};

template <class Config>
void launch_tiles(Stream& stream, Product p) {
  using Tile = typename Config::Tile;
  p.channel_tiles = ceil_div(p.channels_out, Config::channels);
  int blocks = 0;
  for (int i = 0; i < p.phases; ++i) {
    p.phase[i].pixel_tiles = ceil_div(p.phase[i].pixels, Config::pixels);
    p.phase[i].block = blocks;
    blocks += p.phase[i].pixel_tiles * p.channel_tiles * p.splits * p.groups;
  }
  allow_shared(images_kernel<Config>, Tile::shared_bytes);
  launch(images_kernel<Config>, dim3(static_cast<unsigned>(blocks)), dim3(Tile::threads), Tile::shared_bytes,
         handle(stream), p);
}

template <Order order>
void launch_shape(Stream& stream, const Product& p, int tile) {
  constexpr bool last = order == Order::channels_last;
  switch (tile) {
    case 0:
      return launch_tiles<typename Choose<128, 128, last ? 2 : 4, last ? 4 : 2, order>::type>(stream, p);
    case 1: return launch_tiles<typename Choose<128, 64, last ? 2 : 4, last ? 2 : 1, order>::type>(stream, p);
    case 2: return launch_tiles<typename Choose<64, 64, 2, 2, order>::type>(stream, p);
    default: return launch_tiles<typename Choose<128, 32, 4, 1, order>::type>(stream, p);
  }
}

void launch_order(Stream& stream, const Product& p, Order order, int tile) {
  switch (order) {
    case Order::row_major: return launch_shape<Order::row_major>(stream, p, tile);
    case Order::row_major_by_4: return launch_shape<Order::row_major_by_4>(stream, p, tile);
    case Order::channels_last: return launch_shape<Order::channels_last>(stream, p, tile);
  }
}

// The weight as the product wants it: in `packed`, or as it lies where its order is right already.
const float* pack(Stream& stream, Product& p, const Conv2dParams& c, const float* weight, bool forward,
                  float* packed) {
  Packing to{packed,         weight,  forward,  c.channels_last,       p.channels_in,
             p.channels_out, p.pitch, p.groups, static_cast<int>(c.R), static_cast<int>(c.S),
             p.phases,       {}};
  int deepest = 0;
  for (int i = 0; i < p.phases; ++i) {
    const Phase& f = p.phase[i];
    to.phase[i] = {f.depth,       f.h.taps * f.w.taps, f.w.taps,      f.h.first_tap,
                   f.w.first_tap, f.h.every_tap,       f.w.every_tap, f.weight};
    deepest = f.depth > deepest ? f.depth : deepest;
  }
  const int jobs = p.phases * p.groups;
  launch(
      pack_kernel,
      dim3(static_cast<unsigned>(ceil_div(deepest, square)), static_cast<unsigned>(ceil_div(p.pitch, square)),
           static_cast<unsigned>(jobs < 65535 ? jobs : 65535)),
      dim3(square * pack_rows), 0, handle(stream), to);
  return packed;
}

// 1x1 with stride 1: pixels and their taps lie in one order, four of them in 16 bytes.
Order order_of(const Conv2dParams& p, const void* image) {
  if (p.channels_last) return Order::channels_last;
  const bool plain = p.R * p.S == 1 && p.stride_h * p.stride_w == 1 && p.P == p.H && p.Q == p.W &&
                     p.pad_top == 0 && p.pad_left == 0;
  return plain && p.P * p.Q % 4 == 0 && aligned(image) ? Order::row_major_by_4 : Order::row_major;
}

// Fills in what follows from the phases, packs the weight, and launches.
void multiply(Stream& stream, Product& p, const Conv2dParams& c, const float* weight, bool forward,
              Order order) {
  std::int64_t packed = 0, pixels = 0, depth = 0;
  for (int i = 0; i < p.phases; ++i) {
    p.phase[i].weight = packed;
    packed += std::int64_t{p.groups} * p.phase[i].depth * p.pitch;
    pixels += p.phase[i].pixels;
    depth += p.phase[i].depth;
  }
  const TilePlan plan = plan_tiles(properties(stream).multiprocessors, 128, shapes, 4,
                                   {ceil_div(pixels, p.phases), p.channels_out, ceil_div(depth, p.phases),
                                    std::int64_t{p.groups} * p.phases, sizeof(float)});
  const std::int64_t count = pixels * p.groups * p.channels_out;
  p.splits = plan.parts;
  p.in_channels = Divisor(p.channels_in);

  const bool packs =
      forward || c.R * c.S > 1 || p.phases > 1 || p.pitch != p.channels_out || !aligned(weight);
  const std::int64_t numbers = (packs ? packed : 0) + (plan.parts > 1 ? plan.parts * count : 0);
  const Workspace workspace(stream, static_cast<std::size_t>(numbers) * sizeof(float));
  p.weight = packs && packed > 0 ? pack(stream, p, c, weight, forward, workspace.data<float>()) : weight;
  if (plan.parts == 1) return launch_order(stream, p, order, plan.tile);

  auto* const parts = workspace.data<float>() + (packs ? packed : 0);
  const FinishImages finish{p.out, p.bias, c.channels_last ? 1 : count / (c.N * p.groups * p.channels_out),
                            std::int64_t{p.groups} * p.channels_out, p.relu};
  p.out = parts;
  p.part = count;
  p.bias = nullptr;
  p.relu = false;
  launch_order(stream, p, order, plan.tile);
  sum_parts(stream, parts, count, plan.parts, finish);
}

}  // namespace

bool conv2d_takes_implicit_gemm(const Conv2dParams& p, DType dtype) {
  const std::int64_t limit = (std::int64_t{1} << 31) - 256;  // offsets are of 32 bits
  const std::int64_t x = p.N * p.C * p.H * p.W, out = p.N * p.K * p.P * p.Q,
                     weight = p.K * (p.C / p.groups) * p.R * p.S;
  // What a tap may reach for, from the padding on.
  const std::int64_t padded = (p.H + p.pad_top + p.pad_bottom) * (p.W + p.pad_left + p.pad_right);
  return dtype == DType::float32 && x > 0 && out > 0 && weight > 0 && x < limit && out < limit &&
         weight < limit && p.H + p.pad_top + p.pad_bottom < 1 << 28 &&
         p.W + p.pad_left + p.pad_right < 1 << 28 && padded < limit / p.C && padded < limit / p.K;
}

bool conv2d_implicit_gemm_forward(Stream& stream, const Conv2dForwardArgs& a) {
  const Conv2dParams& c = a.p;
  if (!conv2d_takes_implicit_gemm(c, a.dtype)) return false;
  Product p{};
  p.image = {static_cast<const float*>(a.x), static_cast<int>(c.H), static_cast<int>(c.W)};
  p.bias = static_cast<const float*>(a.bias);
  p.out = static_cast<float*>(a.out);
  p.in = image_steps<int>(c.channels_last, c.C, c.H, c.W);
  p.to = image_steps<int>(c.channels_last, c.K, c.P, c.Q);
  p.groups = static_cast<int>(c.groups);
  p.channels_in = static_cast<int>(c.C / c.groups);
  p.channels_out = static_cast<int>(c.K / c.groups);
  p.pitch = ceil_div(p.channels_out, 4) * 4;
  p.relu = a.activation == Activation::relu;
  p.phases = 1;
  p.phase[0] = phase_of(forward_axis(c.P, c.stride_h, c.pad_top, c.dilation_h, c.R),
                        forward_axis(c.Q, c.stride_w, c.pad_left, c.dilation_w, c.S), c.N, p.channels_in);
  multiply(stream, p, c, static_cast<const float*>(a.weight), true, order_of(c, a.x));
  return true;
}

bool conv2d_implicit_gemm_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& c = a.p;
  if (!conv2d_takes_implicit_gemm(c, a.dtype) || c.stride_h * c.stride_w > max_phases) return false;
  Product p{};
  p.image = {static_cast<const float*>(a.dout), static_cast<int>(c.P), static_cast<int>(c.Q)};
  p.out = static_cast<float*>(a.dx);
  p.in = image_steps<int>(c.channels_last, c.K, c.P, c.Q);
  p.to = image_steps<int>(c.channels_last, c.C, c.H, c.W);
  p.groups = static_cast<int>(c.groups);
  p.channels_in = static_cast<int>(c.K / c.groups);
  p.channels_out = static_cast<int>(c.C / c.groups);
  p.pitch = ceil_div(p.channels_out, 4) * 4;
  for (int i = 0; i < c.stride_h && i < c.H; ++i)
    for (int j = 0; j < c.stride_w && j < c.W; ++j) {
      const Phase phase = phase_of(
          backward_axis(i, static_cast<int>(c.H), static_cast<int>(c.stride_h), static_cast<int>(c.pad_top),
                        static_cast<int>(c.dilation_h), static_cast<int>(c.R)),
          backward_axis(j, static_cast<int>(c.W), static_cast<int>(c.stride_w), static_cast<int>(c.pad_left),
                        static_cast<int>(c.dilation_w), static_cast<int>(c.S)),
          c.N, p.channels_in);
      int at = p.phases++;  // the longest first
      for (; at > 0 && p.phase[at - 1].depth < phase.depth; --at) p.phase[at] = p.phase[at - 1];
      p.phase[at] = phase;
    }
  multiply(stream, p, c, static_cast<const float*>(a.weight), false, order_of(c, a.dout));
  return true;
}

}  // namespace weft::cuda
