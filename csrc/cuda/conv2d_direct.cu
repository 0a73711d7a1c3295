// Convolution of images with few channels, forward: no matrix product, whose tiles such channels would not
// fill. Kernels of 3, 5 or 7 columns, stride 1 or 2 along the columns, no dilation, one group, float32,
// images in any order.
//
//   out[n,k,p,q] = f(bias[k] + sum over c, r, s of
//                    x[n, c, p stride_h + r - pad_top, q stride_w + s - pad_left] weight[k,c,r,s])
//
// Method: a block has a piece of an image, or some small images, with its halo in shared memory:
// [image][c][row] and with stride 2 the even columns before the odd ones, so that the columns of a tap are
// neighbours. A thread computes 4 neighbouring columns of one row for `KB` output channels. For one (c, r) it
// reads the columns that these meet once, by 16 bytes, and S times KB weights that all threads of a warp
// share; so for S = 5, KB = 8: 2 + 10 loads for 160 multiply-adds. The weights of KB channels at a time stand
// in shared memory as [c][r][s][KB].
//
// Cost: 92% of the loop's instructions are multiply-adds. The stem, 3 -> 64 channels, 7x7 by 2, 224x224: 236
// MFLOP and 3.8 MB an image. LeNet's two at batch 64 (15 and 31 MFLOP) take the time of a launch and of one
// thread's loop.
#include "cuda/conv2d.h"
#include "cuda/device/divisor.h"
#include "cuda/device/vec.h"

namespace weft::cuda {

namespace {

constexpr int block = 128, columns = 4;  // outputs of a thread along q

struct Args {
  float* out;
  const float *x, *weight, *bias;
  ImageSteps<int> in, to;
  int N, C, H, W, K, R, P, Q, stride_h, pad_top, pad_left;
  int images, rows, quads;  // of outputs, of a block: some images, or rows and groups of columns of one
  int in_rows, pitch;       // of a plane in shared memory; a row has `stride_w` parts of `pitch`
  int row_tiles, column_tiles;
  int chunks;  // of KB channels, of a block
  Divisor by_quads, by_rows, by_in_rows, by_C;
  bool relu;
};

// x's piece with its halo; zeros in the padding. A warp copies a row.
template <int StrideW>
__device__ __forceinline__ void load_piece(float* piece, const Args& a, int n, int p, int q) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int h0 = p * a.stride_h - a.pad_top, w0 = q * StrideW - a.pad_left, all = a.images * a.C * a.in_rows;
  for (int line = warp; line < all; line += block / 32) {
    int row, c;
    const int image = a.by_C.divide(a.by_in_rows.divide(line, row), c);
    const int h = h0 + row;
    const bool inside = n + image < a.N && static_cast<unsigned>(h) < static_cast<unsigned>(a.H);
    const float* from = a.x + (inside ? (n + image) * a.in.n + c * a.in.c + h * a.in.h : 0);
    float* to = piece + line * (StrideW * a.pitch);
    for (int i = lane; i < StrideW * a.pitch; i += 32) {
      const int w = w0 + i;
      cp_async<4>(to + (StrideW == 1 ? i : i % 2 * a.pitch + i / 2), from + w * a.in.w,
                  inside && static_cast<unsigned>(w) < static_cast<unsigned>(a.W));
    }
  }
}

// weights[(c R + r) S + s][i] of channels k + i; zeros beyond K.
template <int KB>
__device__ __forceinline__ void load_weights(float* weights, const Args& a, int k, int taps) {
  for (int i = threadIdx.x; i < taps * KB; i += block) {
    const int channel = i / taps, tap = i - channel * taps;  // neighbours in memory: neighbouring taps
    weights[tap * KB + channel] = k + channel < a.K ? a.weight[(k + channel) * taps + tap] : 0.f;
  }
}

// The products of one row of x, from `line`, with a row of the filters.
template <int S, int StrideW, int KB>
__device__ __forceinline__ void multiply_row(float (&acc)[KB][columns], const float* line, int pitch,
                                             const float* weights) {
  constexpr int width = columns + (S - 1) / StrideW, packs = (width + 3) / 4;
  float x[StrideW][4 * packs];
#pragma unroll
  for (int part = 0; part < StrideW; ++part)
#pragma unroll
    for (int i = 0; i < packs; ++i) {
      const auto pack = load_pack<float, 4>(line + part * pitch + 4 * i);
#pragma unroll
      for (int j = 0; j < 4; ++j) x[part][4 * i + j] = pack.v[j];
    }
#pragma unroll
  for (int s = 0; s < S; ++s) {
    float w[KB];
#pragma unroll
    for (int i = 0; i < KB; i += 4) {
      const auto pack = load_pack<float, 4>(weights + s * KB + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) w[i + j] = pack.v[j];
    }
#pragma unroll
    for (int i = 0; i < KB; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) acc[i][j] += w[i] * x[s % StrideW][s / StrideW + j];
  }
}

template <int KB>
__device__ __forceinline__ void store(const Args& a, const float (&acc)[KB][columns], int n, int k, int p,
                                      int q) {
  float* out = a.out + (n * a.to.n + p * a.to.h + q * a.to.w);
#pragma unroll
  for (int i = 0; i < KB; ++i) {
    if (k + i >= a.K) break;
    const float start = a.bias ? a.bias[k + i] : 0.f;
#pragma unroll
    for (int j = 0; j < columns; ++j) {
      const float y = acc[i][j] + start;
      if (q + j < a.Q) out[(k + i) * a.to.c + j * a.to.w] = a.relu && y <= 0 ? 0.f : y;
    }
  }
}

template <int S, int StrideW, int KB>
__global__ void __launch_bounds__(block) direct_kernel(const __grid_constant__ Args a) {
  DYNAMIC_SHARED(float, shared);
  const int taps = a.C * a.R * S;
  float* const weights = shared;  // [taps][KB], then the piece
  float* const piece = shared + taps * KB;
  int job = static_cast<int>(blockIdx.x);
  const int q0 = job % a.column_tiles * (a.quads * columns);
  job /= a.column_tiles;
  const int p0 = job % a.row_tiles * a.rows, n0 = job / a.row_tiles * a.images;
  load_piece<StrideW>(piece, a, n0, p0, q0);
  cp_async_commit();
  cp_async_wait<0>();

  int quad, row;
  const int image = a.by_rows.divide(a.by_quads.divide(threadIdx.x, quad), row);
  const int n = n0 + image, p = p0 + row, q = q0 + quad * columns;
  const bool works = image < a.images && n < a.N && p < a.P && q < a.Q;
  const int line = StrideW * a.pitch;
  const float* own =
      piece + (works ? (image * a.C * a.in_rows + row * a.stride_h) * line + quad * columns : 0);
  for (int chunk = 0; chunk < a.chunks; ++chunk) {
    const int k = (blockIdx.y * a.chunks + chunk) * KB;
    if (k >= a.K) break;
    load_weights<KB>(weights, a, k, taps);
    __syncthreads();
    if (works) {
      float acc[KB][columns] = {};
      for (int c = 0; c < a.C; ++c)
        for (int r = 0; r < a.R; ++r)
          multiply_row<S, StrideW, KB>(acc, own + (c * a.in_rows + r) * line, a.pitch,
                                       weights + (c * a.R + r) * S * KB);
      store<KB>(a, acc, n, k, p, q);
    }
    __syncthreads();
  }
}

constexpr std::size_t most_shared = 96 * 1024;

// Cuts the output into the blocks' pieces. False where one does not fit the shared memory.
bool cut(Args& a, int stride_w, int S, int kb, std::size_t& bytes) {
  const int quads = ceil_div(a.Q, columns);
  const auto shared = [&] {
    a.in_rows = (a.rows - 1) * a.stride_h + a.R;
    a.pitch = ceil_div(a.quads * columns + (S - 1) / stride_w, 4) * 4;
    const std::int64_t floats =
        std::int64_t{a.C} * a.R * S * kb + std::int64_t{a.images} * a.C * a.in_rows * stride_w * a.pitch;
    return static_cast<std::size_t>(floats) * sizeof(float);
  };
  a.column_tiles = ceil_div(quads, 8);
  a.quads = ceil_div(quads, a.column_tiles);
  a.rows = block / a.quads < a.P ? block / a.quads : a.P;
  a.rows = ceil_div(a.P, ceil_div(a.P, a.rows));  // tiles of the same height
  a.images = a.column_tiles == 1 && a.rows == a.P ? block / (a.quads * a.rows) : 1;
  if (a.images > a.N) a.images = a.N;
  while ((bytes = shared()) > most_shared) {
    if (a.images > 1)
      --a.images;
    else if (a.rows > 1)
      a.rows = ceil_div(a.rows, 2);
    else
      return false;
  }
  a.row_tiles = ceil_div(a.P, a.rows);
  return true;
}

template <int S, int StrideW, int KB>
void launch_blocks(Stream& stream, Args& a, std::size_t bytes) {
  const int pieces = ceil_div(a.N, a.images) * a.row_tiles * a.column_tiles, all = ceil_div(a.K, KB);
  // A piece serves all channels, unless there are fewer pieces than the device takes at once.
  const int wanted = properties(stream).multiprocessors * 4;
  const int parts = pieces >= wanted ? 1 : all < wanted / pieces ? all : wanted / pieces;
  a.chunks = ceil_div(all, parts);
  allow_shared(direct_kernel<S, StrideW, KB>, bytes);
  launch(direct_kernel<S, StrideW, KB>,
         dim3(static_cast<unsigned>(pieces), static_cast<unsigned>(ceil_div(all, a.chunks))), dim3(block),
         bytes, handle(stream), a);
}

template <int S, int KB>
void launch_stride(Stream& stream, Args& a, std::int64_t stride_w, std::size_t bytes) {
  if (stride_w == 1) return launch_blocks<S, 1, KB>(stream, a, bytes);
  launch_blocks<S, 2, KB>(stream, a, bytes);
}

}  // namespace

// Few channels: up to four, or so few that tiles of a matrix product would be mostly empty.
bool conv2d_takes_direct(const Conv2dParams& p, DType dtype) {
  return conv2d_takes_implicit_gemm(p, dtype) && p.groups == 1 && (p.C <= 4 || (p.C <= 8 && p.K <= 16)) &&
         p.dilation_h == 1 && p.dilation_w == 1 && (p.S == 3 || p.S == 5 || p.S == 7) && p.R <= 16;
}

bool conv2d_direct_forward(Stream& stream, const Conv2dForwardArgs& c) {
  const Conv2dParams& p = c.p;
  if (!conv2d_takes_direct(p, c.dtype) || p.stride_w > 2) return false;
  const auto narrow = [](std::int64_t n) { return static_cast<int>(n); };
  Args a{};
  a.out = static_cast<float*>(c.out);
  a.x = static_cast<const float*>(c.x), a.weight = static_cast<const float*>(c.weight);
  a.bias = static_cast<const float*>(c.bias);
  a.N = narrow(p.N), a.C = narrow(p.C), a.H = narrow(p.H), a.W = narrow(p.W), a.K = narrow(p.K),
  a.R = narrow(p.R);
  a.P = narrow(p.P), a.Q = narrow(p.Q), a.stride_h = narrow(p.stride_h);
  a.pad_top = narrow(p.pad_top), a.pad_left = narrow(p.pad_left);
  a.in = image_steps<int>(p.channels_last, a.C, a.H, a.W),
  a.to = image_steps<int>(p.channels_last, a.K, a.P, a.Q);
  a.relu = c.activation == Activation::relu;
  const bool four =
      p.K <= 4 || p.N * p.P * p.Q * p.K < 1 << 18;  // more threads rather than more work for each
  std::size_t bytes = 0;
  if (!cut(a, narrow(p.stride_w), narrow(p.S), four ? 4 : 8, bytes)) return false;
  a.by_quads = Divisor(a.quads), a.by_rows = Divisor(a.rows), a.by_in_rows = Divisor(a.in_rows),
  a.by_C = Divisor(a.C);
  const auto go = [&]<int S>() {
    if (four)
      launch_stride<S, 4>(stream, a, p.stride_w, bytes);
    else
      launch_stride<S, 8>(stream, a, p.stride_w, bytes);
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
