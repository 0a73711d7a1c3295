// Convolution, ReLU and 2x2 max-pooling, forward, of small images; see ops/conv2d_relu_max_pool2d.h.
//
// A block makes Kb output channels of up to 128 neighbouring windows of one image. It copies the rows of the
// image that these windows see, with the padding's zeros, and its channels' weights to shared memory. A
// thread makes one window of KT channels: it goes over the taps with its (R+1) x (S+1) pixels and 4 KT sums
// in registers, so that a pixel is read once for 4 taps and KT channels, and a weight, which all lanes of a
// warp share, once for 4 sums. The largest of the four sums goes out; the convolution's output is never
// stored.
//
//   tile    [C][rows][pitch], the padded image from the chunk's first row on
//   taps    [C][R][S][Ks], Ks >= Kb channels, those beyond K are 0
//
// C R S 4 KT multiply-adds a thread, and a quarter as many instructions more. LeNet's layers are 118k and
// 240k multiply-adds an image, with 196 of 224 and 25 of 32 lanes in use; at batch 64 an SM's scheduler has
// one or two warps.
#include "cuda/conv2d_relu_max_pool2d_tiled.h"
#include "cuda/device/vec.h"

namespace weft::cuda {

namespace {

constexpr int most_windows = 128, shared_limit = 96 * 1024;  // most_windows: also the most threads of a block

struct Layout {
  int C, H, W, K, PP, PQ, pad_top, pad_left;
  int chunk, chunks, lanes;  // windows of a block, of these in an image, threads for them
  int rows, width, pitch;    // of the tile
  int groups, Kb, Ks;        // of KT channels in a block; channels of a block, and their pitch
};

// Copies rows row0.. of the padded image and zeros around it. A warp takes a row at a time.
__device__ __forceinline__ void load_tile(float* tile, const float* image, const Layout& a, int row0,
                                          int threads) {
  for (int line = threadIdx.x / 32; line < a.C * a.rows; line += threads / 32) {
    const int c = line / a.rows, h = row0 + line - c * a.rows - a.pad_top;
    const float* from = image + (c * a.H + h) * a.W - a.pad_left;
    for (int x = threadIdx.x % 32; x < a.width; x += 32) {
      const int w = x - a.pad_left;
      const bool inside = h >= 0 && h < a.H && w >= 0 && w < a.W;
      cp_async<4>(tile + line * a.pitch + x, inside ? from + x : image, inside);
    }
  }
}

// weight[k0 + k][t] to taps[t][k], zeros beyond K. A warp takes a channel at a time.
__device__ __forceinline__ void load_taps(float* taps, const float* weight, const Layout& a, int count,
                                          int k0, int threads) {
  for (int k = threadIdx.x / 32; k < a.Kb; k += threads / 32)
    for (int t = threadIdx.x % 32; t < count; t += 32) {
      const bool inside = k0 + k < a.K;
      cp_async<4>(taps + t * a.Ks + k, inside ? weight + (k0 + k) * count + t : weight, inside);
    }
}

// Bias, maximum, ReLU, and the code of the winner.
template <int KT>
__device__ __forceinline__ void store(const float (&sum)[2][2][KT], const Layout& a, int image, int window,
                                      int k0, float* out, std::uint8_t* winner, const float* bias) {
#pragma unroll
  for (int k = 0; k < KT; ++k) {
    if (k0 + k >= a.K) break;
    const float b = bias ? bias[k0 + k] : 0.0f;
    float best = sum[0][0][k] + b;
    int at = 0;
#pragma unroll
    for (int t = 1; t < 4; ++t) {
      const float y = sum[t / 2][t % 2][k] + b;
      if (y > best || isnan(y)) best = y, at = t;
    }
    const std::int64_t o = (static_cast<std::int64_t>(image) * a.K + k0 + k) * a.PP * a.PQ + window;
    out[o] = best <= 0 ? 0 : best;
    winner[o] = static_cast<std::uint8_t>(best <= 0 ? winner_cut : at);
  }
}

// Pixels 0 .. R of a row.
template <int R>
__device__ __forceinline__ void load_row(float (&row)[R + 1], const float* from) {
#pragma unroll
  for (int s = 0; s <= R; s += 2) {
    const Pack<float, 2> two = load_pack<float, 2>(from + s);
    row[s] = two.v[0], row[s + 1] = two.v[1];
  }
}

template <int R, int KT>
__global__ void __launch_bounds__(most_windows, 4)
    forward_kernel(Layout a, float* out, std::uint8_t* winner, const float* x, const float* weight,
                   const float* bias) {
  constexpr int V = KT % 4 == 0 ? 4 : 2;
  DYNAMIC_SHARED(float, shared);
  const int threads = a.lanes * a.groups, k0 = blockIdx.y * a.Kb;
  float* taps = shared;  // first: its rows are read by 16 bytes
  float* tile = shared + a.C * R * R * a.Ks;
  const int image = blockIdx.x / a.chunks, first = (blockIdx.x - image * a.chunks) * a.chunk;
  const int row0 = first / a.PQ * 2;
  load_taps(taps, weight, a, a.C * R * R, k0, threads);
  load_tile(tile, x + static_cast<std::int64_t>(image) * a.C * a.H * a.W, a, row0, threads);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();

  const int group = threadIdx.x / a.lanes, window = first + threadIdx.x - group * a.lanes;
  if (window < min(first + a.chunk, a.PP * a.PQ)) {
    const int i = window / a.PQ, j = window - i * a.PQ;
    const float* pixel = tile + (2 * i - row0) * a.pitch + 2 * j;
    const float* tap = taps + group * KT;
    float sum[2][2][KT] = {};
#pragma unroll 1
    for (int c = 0; c < a.C; ++c, pixel += a.rows * a.pitch, tap += R * R * a.Ks) {
      float row[2][R + 1];  // the pixels' rows that tap row r meets, the even and the odd one
      load_row<R>(row[0], pixel);
#pragma unroll
      for (int r = 0; r < R; ++r) {
        load_row<R>(row[(r + 1) % 2], pixel + (r + 1) * a.pitch);
#pragma unroll
        for (int s = 0; s < R; ++s)
#pragma unroll
          for (int k = 0; k < KT; k += V) {
            const Pack<float, V> w = load_pack<float, V>(tap + (r * R + s) * a.Ks + k);
#pragma unroll
            for (int l = 0; l < V; ++l)
#pragma unroll
              for (int t = 0; t < 4; ++t)
                sum[t / 2][t % 2][k + l] =
                    fmaf(row[(r + t / 2) % 2][s + t % 2], w.v[l], sum[t / 2][t % 2][k + l]);
          }
      }
    }
    store<KT>(sum, a, image, window, k0 + group * KT, out, winner, bias);
  }
}

// The smallest even pitch of at least `width` where windows of the next row of windows go on in the banks
// where those of the row before end, as well as even pitches can.
int pitch_for(int width, int windows) {
  int pitch = width + width % 2;
  while (pitch % 16 != (windows + windows % 2) % 16) pitch += 2;
  return pitch;
}

// For KT channels a thread.
Layout layout(const Conv2dParams& p, const PoolWindow& pool, int kt) {
  Layout a{};
  a.C = static_cast<int>(p.C), a.H = static_cast<int>(p.H), a.W = static_cast<int>(p.W),
  a.K = static_cast<int>(p.K);
  a.PP = static_cast<int>(pool.PP), a.PQ = static_cast<int>(pool.PQ);
  a.pad_top = static_cast<int>(p.pad_top), a.pad_left = static_cast<int>(p.pad_left);
  const int windows = a.PP * a.PQ, R = static_cast<int>(p.R);
  a.chunk = windows < most_windows ? windows : most_windows;
  a.chunks = ceil_div(windows, a.chunk);
  a.lanes = ceil_div(a.chunk, 32) * 32;
  // A chunk that begins within a row of windows reaches into one more.
  const int window_rows = a.chunks == 1 ? a.PP : (a.chunk + a.PQ - 2) / a.PQ + 1;
  a.rows = 2 * (window_rows < a.PP ? window_rows : a.PP) + R - 1;
  a.width = 2 * a.PQ + R - 1;
  a.pitch = pitch_for(a.width, a.PQ);
  const int all = ceil_div(a.K, kt), fit = most_windows / a.lanes;
  a.groups = all < fit ? all : fit;
  a.Kb = a.groups * kt;
  a.Ks = a.Kb + (a.Kb % 8 == 0 ? 4 : 0);  // so that neighbouring taps are written to other banks
  return a;
}

std::size_t shared_bytes(const Layout& a, int taps) {
  return sizeof(float) * static_cast<std::size_t>(a.C * taps * a.Ks + a.C * a.rows * a.pitch);
}

template <int R, int KT>
void run(Stream& stream, const Conv2dReluMaxPool2dArgs& args) {
  const Layout a = layout(args.p, args.pool, KT);
  const std::size_t bytes = shared_bytes(a, R * R);
  const dim3 grid(static_cast<unsigned>(args.p.N * a.chunks), ceil_div(a.K, a.Kb));
  if (bytes > 48 * 1024) allow_shared(forward_kernel<R, KT>, bytes);
  launch(forward_kernel<R, KT>, grid, dim3(a.lanes * a.groups), bytes, handle(stream), a,
         static_cast<float*>(args.out), args.winner, static_cast<const float*>(args.x),
         static_cast<const float*>(args.weight), static_cast<const float*>(args.bias));
}

// The more channels a thread makes, the fewer loads; the fewer, the more warps there are to fill the device.
int channels_per_thread(const Stream& stream, const Conv2dParams& p, const PoolWindow& pool) {
  const std::int64_t wanted = 2 * properties(stream).multiprocessors;
  const std::int64_t warps = p.N * ceil_div(pool.PP * pool.PQ, 32);
  if (p.K % 6 == 0 && p.K % 4 != 0 && warps * (p.K / 6) >= wanted) return 6;
  return warps * ceil_div(p.K, 4) >= wanted ? 4 : 2;
}

template <int R>
void run(Stream& stream, const Conv2dReluMaxPool2dArgs& args, int kt) {
  kt == 6 ? run<R, 6>(stream, args) : kt == 4 ? run<R, 4>(stream, args) : run<R, 2>(stream, args);
}

}  // namespace

bool conv2d_relu_max_pool2d_tiled(Stream& stream, const Conv2dReluMaxPool2dArgs& args) {
  if (!conv2d_relu_max_pool2d_tiles(args.p, args.pool, args.dtype)) return false;
  const int kt = channels_per_thread(stream, args.p, args.pool), taps = static_cast<int>(args.p.R * args.p.S);
  if (shared_bytes(layout(args.p, args.pool, kt), taps) > shared_limit) return false;
  taps == 25 ? run<5>(stream, args, kt) : run<3>(stream, args, kt);
  return true;
}

}  // namespace weft::cuda
