// Two-dimensional convolution as its definition has it, for all that the quicker methods decline; see
// ops/conv2d.h.
//
//   forward   a thread per element of out, C/G R S products each
//   dx        a thread per element of dx: of the R S taps those at which some output met this pixel
//   dw        a warp per element of dw, whose lanes share the N P Q positions; a thread where there are many
//   db        blocks per channel and piece of the positions; a second launch adds the pieces in order
//
// Sums are kept in double: one conversion and one fused multiply-add at half of float's rate per product.
// Reads go through the caches, nothing is tiled. db reads dout once.
#include "cuda/conv2d.h"
#include "cuda/device/reduce.h"
#include "cuda/sum_parts.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

using Steps = ImageSteps<std::int64_t>;

struct Position {
  std::int64_t n, c, h, w;
};
// The position of element i in the order of memory.
__device__ Position position(std::int64_t i, bool channels_last, std::int64_t channels, std::int64_t height,
                             std::int64_t width) {
  Position at;
  if (channels_last) {
    at.c = i % channels, i /= channels;
    at.w = i % width, i /= width;
    at.h = i % height, at.n = i / height;
  } else {
    at.w = i % width, i /= width;
    at.h = i % height, i /= height;
    at.c = i % channels, at.n = i / channels;
  }
  return at;
}

template <class T>
__global__ void __launch_bounds__(block)
    forward_kernel(Conv2dParams p, T* out, const T* x, const T* weight, const T* bias, bool relu) {
  const std::int64_t C = p.C / p.groups, K = p.K / p.groups, count = p.N * p.K * p.P * p.Q;
  const Steps step = image_steps<std::int64_t>(p.channels_last, p.C, p.H, p.W);
  for (std::int64_t i = std::int64_t{blockIdx.x} * block + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * block) {
    const Position at = position(i, p.channels_last, p.K, p.P, p.Q);
    const T* image = x + at.n * step.n + at.c / K * C * step.c;
    const T* filter = weight + at.c * C * p.R * p.S;
    double sum = bias ? double{bias[at.c]} : 0;
    for (std::int64_t c = 0; c < C; ++c)
      for (std::int64_t r = 0; r < p.R; ++r)
        for (std::int64_t s = 0; s < p.S; ++s) {
          const std::int64_t h = at.h * p.stride_h + r * p.dilation_h - p.pad_top;
          const std::int64_t w = at.w * p.stride_w + s * p.dilation_w - p.pad_left;
          if (h < 0 || h >= p.H || w < 0 || w >= p.W) continue;  // padding: zero
          sum +=
              double{image[c * step.c + h * step.h + w * step.w]} * double{filter[(c * p.R + r) * p.S + s]};
        }
    const T y = static_cast<T>(sum);
    out[i] = relu && y <= 0 ? T(0) : y;
  }
}

template <class T>
__global__ void __launch_bounds__(block)
    backward_input_kernel(Conv2dParams p, T* dx, const T* dout, const T* weight) {
  const std::int64_t C = p.C / p.groups, K = p.K / p.groups, count = p.N * p.C * p.H * p.W;
  const Steps step = image_steps<std::int64_t>(p.channels_last, p.K, p.P, p.Q);
  for (std::int64_t i = std::int64_t{blockIdx.x} * block + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * block) {
    const Position at = position(i, p.channels_last, p.C, p.H, p.W);
    const std::int64_t first = at.c / C * K;  // channel of out
    double sum = 0;
    for (std::int64_t r = 0; r < p.R; ++r)
      for (std::int64_t s = 0; s < p.S; ++s) {
        const std::int64_t h = at.h + p.pad_top - r * p.dilation_h, w = at.w + p.pad_left - s * p.dilation_w;
        if (h < 0 || w < 0 || h % p.stride_h != 0 || w % p.stride_w != 0) continue;
        const std::int64_t i_out = h / p.stride_h, j_out = w / p.stride_w;
        if (i_out >= p.P || j_out >= p.Q) continue;
        const T* from = dout + at.n * step.n + first * step.c + i_out * step.h + j_out * step.w;
        const T* tap = weight + ((first * C + at.c % C) * p.R + r) * p.S + s;
        for (std::int64_t k = 0; k < K; ++k) sum += double{from[k * step.c]} * double{tap[k * C * p.R * p.S]};
      }
    dx[i] = static_cast<T>(sum);
  }
}

// The element of dw at i.
struct Tap {
  std::int64_t k, c, r, s;
};
__device__ Tap tap_of(const Conv2dParams& p, std::int64_t i) {
  const std::int64_t C = p.C / p.groups;
  return {i / (p.S * p.R * C), i / (p.S * p.R) % C, i / p.S % p.R, i % p.S};
}

// dw: `Lanes` threads, one or a warp, share the positions of an element.
template <class T, int Lanes>
__global__ void __launch_bounds__(block)
    backward_weight_kernel(Conv2dParams p, std::int64_t count, T* dw, const T* dout, const T* x) {
  const Steps in = image_steps<std::int64_t>(p.channels_last, p.C, p.H, p.W),
              of_out = image_steps<std::int64_t>(p.channels_last, p.K, p.P, p.Q);
  const int lane = threadIdx.x % Lanes;
  for (std::int64_t i = (std::int64_t{blockIdx.x} * block + threadIdx.x) / Lanes; i < count;
       i += std::int64_t{gridDim.x} * (block / Lanes)) {
    const Tap at = tap_of(p, i);
    const T* image = x + (at.k / (p.K / p.groups) * (p.C / p.groups) + at.c) * in.c;
    double sum = 0;
    for (std::int64_t j = lane; j < p.N * p.P * p.Q; j += Lanes) {
      const std::int64_t n = j / (p.P * p.Q), i_out = j / p.Q % p.P, j_out = j % p.Q;
      const std::int64_t h = i_out * p.stride_h + at.r * p.dilation_h - p.pad_top;
      const std::int64_t w = j_out * p.stride_w + at.s * p.dilation_w - p.pad_left;
      if (h < 0 || h >= p.H || w < 0 || w >= p.W) continue;
      sum += double{dout[n * of_out.n + at.k * of_out.c + i_out * of_out.h + j_out * of_out.w]} *
             double{image[n * in.n + h * in.h + w * in.w]};
    }
    if constexpr (Lanes > 1) sum = warp_reduce<Sum<double>>(sum);
    if (lane == 0) dw[i] = static_cast<T>(sum);
  }
}

// dout as channels of runs of `pixels` elements: element i of image n, channel k at (n channels + k) pixels +
// i, or at (n pixels + i) channels + k.
struct BiasShape {
  std::int64_t images, channels, pixels;
  bool channels_last;
  std::int64_t piece;  // images * pixels are summed in pieces of so many
  int pieces;
};

// partial[piece][k] = sum over a piece. Threads of a block: neighbours in memory along x.
template <class T>
__global__ void __launch_bounds__(block) bias_rows_kernel(BiasShape b, double* partial, const T* dout) {
  const std::int64_t jobs = b.channels * b.pieces;
  for (std::int64_t job = blockIdx.x; job < jobs; job += gridDim.x) {
    const std::int64_t k = job % b.channels, begin = job / b.channels * b.piece, all = b.images * b.pixels;
    const std::int64_t end = begin + b.piece < all ? begin + b.piece : all;
    double sum = 0;
#pragma unroll 4
    for (std::int64_t i = begin + threadIdx.x; i < end; i += block)
      sum += double{dout[(i / b.pixels * b.channels + k) * b.pixels + i % b.pixels]};
    sum = block_reduce<Sum<double>, block>(sum);
    if (threadIdx.x == 0) partial[job] = sum;
  }
}

constexpr int wide = 32;  // channels of a block where they lie last

template <class T>
__global__ void __launch_bounds__(block) bias_columns_kernel(BiasShape b, double* partial, const T* dout) {
  SHARED(double, sums, [block / wide][wide]);
  const int lane = threadIdx.x % wide, row = threadIdx.x / wide;
  const std::int64_t groups = (b.channels + wide - 1) / wide, jobs = groups * b.pieces;
  for (std::int64_t job = blockIdx.x; job < jobs; job += gridDim.x) {
    const std::int64_t k = job % groups * wide + lane, piece = job / groups;
    const std::int64_t begin = piece * b.piece, all = b.images * b.pixels;
    const std::int64_t end = begin + b.piece < all ? begin + b.piece : all;
    double sum = 0;
    if (k < b.channels) {
#pragma unroll 4
      for (std::int64_t i = begin + row; i < end; i += block / wide) sum += double{dout[i * b.channels + k]};
    }
    sums[row][lane] = sum;
    __syncthreads();
    if (row == 0 && k < b.channels) {
#pragma unroll
      for (int i = 1; i < block / wide; ++i) sum += sums[i][lane];
      partial[piece * b.channels + k] = sum;
    }
    __syncthreads();
  }
}

unsigned grid_of(std::int64_t blocks) { return static_cast<unsigned>(blocks < 1 << 20 ? blocks : 1 << 20); }

}  // namespace

void conv2d_simple_forward(Stream& stream, const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_over<block>(stream, forward_kernel<T>, p.N * p.K * p.P * p.Q, p, static_cast<T*>(a.out),
                       static_cast<const T*>(a.x), static_cast<const T*>(a.weight),
                       static_cast<const T*>(a.bias), a.activation == Activation::relu);
  });
}

void conv2d_simple_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_over<block>(stream, backward_input_kernel<T>, p.N * p.C * p.H * p.W, p, static_cast<T*>(a.dx),
                       static_cast<const T*>(a.dout), static_cast<const T*>(a.weight));
  });
}

void conv2d_simple_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const std::int64_t count = p.K * (p.C / p.groups) * p.R * p.S;
  if (count == 0) return;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    // Warps where there are too few elements to fill the device with threads, and sums worth sharing.
    const bool warps = count < 1 << 14 && p.N * p.P * p.Q > 2 * warp_size;
    launch_over<block>(stream, warps ? backward_weight_kernel<T, warp_size> : backward_weight_kernel<T, 1>,
                       warps ? count * warp_size : count, p, count, static_cast<T*>(a.dw),
                       static_cast<const T*>(a.dout), static_cast<const T*>(a.x));
  });
}

void conv2d_bias_gradient(Stream& stream, const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  BiasShape b{p.N, p.K, p.P * p.Q, p.channels_last, 4096, 1};
  const std::int64_t all = b.images * b.pixels;
  b.piece = all / 256 > b.piece ? ceil_div(all, 256) : b.piece;  // at most 256 pieces
  b.pieces = static_cast<int>(all == 0 ? 1 : ceil_div(all, b.piece));
  const Workspace partial(stream, static_cast<std::size_t>(b.pieces * b.channels) * sizeof(double));
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto* dout = static_cast<const T*>(a.dout);
    if (b.channels_last)
      launch_grid<block>(stream, bias_columns_kernel<T>, grid_of(ceil_div(b.channels, wide) * b.pieces), b,
                         partial.data<double>(), dout);
    else
      launch_grid<block>(stream, bias_rows_kernel<T>, grid_of(b.channels * b.pieces), b,
                         partial.data<double>(), dout);
    sum_parts(stream, partial.data<double>(), b.channels, b.pieces, StoreSum<T>{static_cast<T*>(a.db)});
  });
}

}  // namespace weft::cuda
