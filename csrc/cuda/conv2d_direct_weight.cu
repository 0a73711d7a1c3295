// The weight's gradient of a convolution with few channels, beside conv2d_direct.cu: filters of 3, 5 or 7
// columns, no dilation, one group, float32, images in any order.
//
//   dw[k,c,r,s] = sum over n, p, q of
//                 dout[n,k,p,q] x[n, c, p stride_h + r - pad_top, q stride_w + s - pad_left]
//
// There are few sums, each over many positions, so the sums stand in registers and the positions are spread
// over the device. A warp has one (c, r), `KB` output channels and a piece of the positions; a lane has one
// of 32 neighbouring positions at a time: it reads KB numbers of dout and S of x, and makes KB S products. In
// the end the lanes' KB S sums are added, half of them handed over at each of five steps, and a second launch
// adds the pieces in order. The warps of a block have the same positions and several (c, r), so dout comes
// from the first-level cache.
//
// Cost: for KB = 16, S = 5: 21 loads, some 30 other instructions, 80 multiply-adds: 60%. LeNet's two at batch
// 64 (15 and 31 MFLOP) take the time of two launches.
#include "cuda/conv2d.h"
#include "cuda/device/divisor.h"
#include "cuda/device/reduce.h"
#include "cuda/sum_parts.h"

namespace weft::cuda {

namespace {

constexpr int most_warps = 8;  // of a block, each with a (c, r)

struct Args {
  float* partial;  // [piece][k][c][r][s]
  const float *x, *dout;
  ImageSteps<int> in, to;
  int C, H, W, K, R, stride_h, stride_w, pad_top, pad_left;
  int pixels, each;  // N P Q; of a piece
  int rows;          // C R: what warps have
  Divisor P, Q, by_R;
};

// Adds 32 numbers over the lanes of a warp: v[0] becomes the sum of all v[lane]. In each step a lane keeps
// half of its numbers and hands the other half to the lane that keeps those.
template <int Half = warp_size / 2>
__device__ __forceinline__ void transposed_sum(float (&v)[warp_size]) {
  const bool upper = (threadIdx.x & Half) != 0;
#pragma unroll
  for (int i = 0; i < Half; ++i) {
    const float keep = upper ? v[i + Half] : v[i], give = upper ? v[i] : v[i + Half];
    v[i] = keep + __shfl_xor_sync(all_lanes, give, Half);
  }
  if constexpr (Half > 1) transposed_sum<Half / 2>(v);
}

template <int S, int KB>
__global__ void __launch_bounds__(most_warps* warp_size, 1)
    direct_weight_kernel(const __grid_constant__ Args a) {
  constexpr int count = KB * S;
  const int lane = threadIdx.x % warp_size,
            row = blockIdx.y * (blockDim.x / warp_size) + threadIdx.x / warp_size;
  const int k = blockIdx.z * KB, begin = blockIdx.x * a.each;
  const int end = begin + a.each < a.pixels ? begin + a.each : a.pixels;
  int r;
  const int c = a.by_R.divide(row, r);
  float acc[count] = {};
  for (int pixel = begin + lane; pixel < end && row < a.rows; pixel += warp_size) {
    int p, q;
    const int n = a.P.divide(a.Q.divide(pixel, q), p);
    const int h = p * a.stride_h + r - a.pad_top, w = q * a.stride_w - a.pad_left;
    const bool inside = static_cast<unsigned>(h) < static_cast<unsigned>(a.H);
    const float* from = a.x + (n * a.in.n + c * a.in.c + h * a.in.h + w * a.in.w);
    const float* dout = a.dout + (n * a.to.n + k * a.to.c + p * a.to.h + q * a.to.w);
    float d[KB], x[S];
#pragma unroll
    for (int s = 0; s < S; ++s)
      x[s] = inside && static_cast<unsigned>(w + s) < static_cast<unsigned>(a.W) ? from[s * a.in.w] : 0.f;
#pragma unroll
    for (int i = 0; i < KB; ++i) d[i] = k + i < a.K ? dout[i * a.to.c] : 0.f;
#pragma unroll
    for (int i = 0; i < KB; ++i)
#pragma unroll
      for (int s = 0; s < S; ++s) acc[i * S + s] += d[i] * x[s];
  }
  float* const to = a.partial + std::int64_t{blockIdx.x} * a.K * a.rows * S;
  const auto add = [&]<int First>() {
    float v[warp_size];
#pragma unroll
    for (int i = 0; i < warp_size; ++i)
      v[i] = First + i < count ? acc[First + i < count ? First + i : 0] : 0.f;
    transposed_sum(v);
    const int e = First + lane, channel = k + e / S;
    if (e < count && channel < a.K && row < a.rows) to[(channel * a.rows + row) * S + e % S] = v[0];
  };
  add.template operator()<0>();
  if constexpr (count > 32) add.template operator()<32>();
  if constexpr (count > 64) add.template operator()<64>();
  if constexpr (count > 96) add.template operator()<96>();
  static_assert(count <= 128);
}

template <int S, int KB>
void launch_pieces(Stream& stream, Args& a, float* dw) {
  const int blocks_y = ceil_div(a.rows, most_warps), warps = ceil_div(a.rows, blocks_y),
            blocks_z = ceil_div(a.K, KB);
  // 16 warps for each SM, but 8 positions for each lane.
  const int wanted = ceil_div(properties(stream).multiprocessors * 16, a.rows * blocks_z);
  const int most = ceil_div(a.pixels, warp_size * 8);
  a.each = ceil_div(ceil_div(a.pixels, wanted < most ? wanted : most), warp_size) * warp_size;
  const int pieces = ceil_div(a.pixels, a.each);
  const std::int64_t count = std::int64_t{a.K} * a.rows * S;
  const Workspace partial(stream, static_cast<std::size_t>(pieces > 1 ? pieces * count : 0) * sizeof(float));
  a.partial = pieces > 1 ? partial.data<float>() : dw;
  launch(
      direct_weight_kernel<S, KB>,
      dim3(static_cast<unsigned>(pieces), static_cast<unsigned>(blocks_y), static_cast<unsigned>(blocks_z)),
      dim3(static_cast<unsigned>(warps * warp_size)), 0, handle(stream), a);
  if (pieces > 1) sum_parts(stream, a.partial, count, pieces, StoreSum<float>{dw});
}

}  // namespace

bool conv2d_direct_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& c) {
  const Conv2dParams& p = c.p;
  if (!conv2d_takes_direct(p, c.dtype)) return false;
  const auto narrow = [](std::int64_t n) { return static_cast<int>(n); };
  Args a{};
  a.x = static_cast<const float*>(c.x), a.dout = static_cast<const float*>(c.dout);
  a.C = narrow(p.C), a.H = narrow(p.H), a.W = narrow(p.W), a.K = narrow(p.K), a.R = narrow(p.R);
  a.stride_h = narrow(p.stride_h), a.stride_w = narrow(p.stride_w);
  a.pad_top = narrow(p.pad_top), a.pad_left = narrow(p.pad_left);
  a.in = image_steps<int>(p.channels_last, a.C, a.H, a.W);
  a.to = image_steps<int>(p.channels_last, a.K, p.P, p.Q);
  a.pixels = narrow(p.N * p.P * p.Q);
  a.rows = a.C * a.R;
  a.P = Divisor(p.P), a.Q = Divisor(p.Q), a.by_R = Divisor(p.R);
  auto* const dw = static_cast<float*>(c.dw);
  const auto go = [&]<int S>() {
    if (p.K <= 8)
      launch_pieces<S, 8>(stream, a, dw);
    else
      launch_pieces<S, 16>(stream, a, dw);
  };
  if (p.S == 3)
    go.template operator()<3>();
  else if (p.S == 5)
    go.template operator()<5>();
  else
    go.template operator()<7>();
  return true;
}

}  // namespace weft::cuda
