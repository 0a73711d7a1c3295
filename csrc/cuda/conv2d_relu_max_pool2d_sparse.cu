// The gradients of convolution, ReLU and 2x2 max-pooling of small images, from the windows' winners; see
// ops/conv2d_relu_max_pool2d.h.
//
// A window has at most one live gradient g, at one of four places (u, v): a quarter of a dense gradient's
// products. A warp takes a window, so that all its lanes know (g, u, v), and behind the choice of the place
// stand static registers. The lanes share out the taps t = (c, r, s).
//
//   dw      sums[k][t] += g pixel[u][v][t]; the four pixels of a tap are read once for all k. Tap C R S is
//           db: its pixels are 1. The warps of a block share the windows of its images, then add up; a second
//           kernel adds up the blocks. All in an order that the problem alone decides.
//   dx      column[t][2 i + u, 2 j + v] += g weight[k][t] over k, for four windows of a warp at once, so that
//           a weight is read once for these; then, out of shared memory,
//           dx[c,h,w] = sum over r, s of column[(c,r,s)][h - r, w - s].
//
// Both are one launch, the first blocks dw, the others dx, so that each fills the other's gaps.
//
// LeNet's second layer has 400 (window, k) an image, each 25 instructions of a warp for dw and for dx under
// predicates, about 15 by branches, and 4500 more for dx out of columns; the first layer 1176 of 6
// instructions, and dw alone. The sums of the blocks are another launch.
#include "cuda/conv2d_relu_max_pool2d_tiled.h"
#include "cuda/device/reduce.h"
#include "cuda/device/vec.h"
#include "cuda/sum_parts.h"

namespace weft::cuda {

namespace {

constexpr int block = 256, warps = block / warp_size, shared_limit = 96 * 1024;
constexpr int dx_taps = 5, dx_windows = 4;  // a lane's taps and a warp's windows for dx
constexpr int most_parts = 128;             // blocks along the batch for dw

struct Live {
  float gradient;
  int place;  // 2 u + v; -1: none
};

template <int P>
struct Place {
  static constexpr int value = P;
};

struct Shape {
  int N, C, H, W, K, PP, PQ, pad_top, pad_left;
  int taps;                   // C R S
  int pitch, plane;           // of the image in shared memory
  int images, parts;          // dw: of a block; blocks along the batch
  int chunks, weight_blocks;  // dw: blocks along taps and channels; blocks in all
  int channels, groups;       // dx: of a block; blocks for an image
};

// The live gradients of one image as [window][k].
__device__ __forceinline__ void load_live(Live* live, const float* dout, const std::uint8_t* winner,
                                          const Shape& a, std::int64_t image) {
  const int windows = a.PP * a.PQ;
  dout += image * a.K * windows, winner += image * a.K * windows;
  for (int o = threadIdx.x; o < a.K * windows; o += block) {
    const int code = winner[o], k = o / windows;
    live[(o - k * windows) * a.K + k] = {dout[o], code < 4 ? code : -1};
  }
}

// The padded image.
template <int R>
__device__ __forceinline__ void load_image(float* tile, const float* image, const Shape& a) {
  const int rows = 2 * a.PP + R - 1, width = 2 * a.PQ + R - 1, lane = threadIdx.x % warp_size;
  for (int line = threadIdx.x / warp_size; line < a.C * rows; line += warps) {
    const int c = line / rows, row = line - c * rows, h = row - a.pad_top;
    for (int x = lane; x < width; x += warp_size) {
      const int w = x - a.pad_left;
      const bool inside = h >= 0 && h < a.H && w >= 0 && w < a.W;
      cp_async<4>(tile + c * a.plane + row * a.pitch + x, inside ? image + (c * a.H + h) * a.W + w : image,
                  inside);
    }
  }
  cp_async_commit();
  cp_async_wait<0>();
}

// Calls f(place) where the window has a live gradient, place then a constant. All lanes of a warp ask for the
// same window. Branch: one way out of four is gone, a third of the instructions, but the warp waits at each
// turn; the barriers keep the compiler from predicates. Else all four are issued under predicates, nothing
// waits.
template <bool Branch, class F>
__device__ __forceinline__ void at_place(int place, F&& f) {
  if constexpr (Branch) {
    if (place >= 2) {
      if (place == 2) {
        __syncwarp();
        f(Place<2>{});
      } else {
        __syncwarp();
        f(Place<3>{});
      }
    } else if (place == 0) {
      __syncwarp();
      f(Place<0>{});
    } else if (place == 1) {
      __syncwarp();
      f(Place<1>{});
    }
  } else {
    if (place == 0) f(Place<0>{});
    if (place == 1) f(Place<1>{});
    if (place == 2) f(Place<2>{});
    if (place == 3) f(Place<3>{});
  }
}

// Adds up the warps' sums into those of warp 0: half of the warps give theirs to the other half, and so on.
template <int N>
__device__ __forceinline__ void add_warps(float (&sum)[N], float* buffer) {
  const int warp = threadIdx.x / warp_size;
#pragma unroll 1
  for (int half = warps / 2; half > 0; half /= 2) {
    float* at = buffer + (warp % half) * N * warp_size + threadIdx.x % warp_size;
    __syncthreads();
    if (warp >= half && warp < 2 * half)
#pragma unroll
      for (int i = 0; i < N; ++i) at[i * warp_size] = sum[i];
    __syncthreads();
    if (warp < half)
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += at[i * warp_size];
  }
}

// Blocks part + parts (chunk of taps + chunks (channels)): parts[part][k][tap], tap = taps for db.
template <int R, int J, int KT, bool Branch>
__device__ __forceinline__ void weight_part(const Shape& a, unsigned char* shared, float* parts,
                                            const float* dout, const std::uint8_t* winner, const float* x) {
  auto* live = reinterpret_cast<Live*>(shared);
  auto* tile = reinterpret_cast<float*>(live + a.PP * a.PQ * a.K);
  const int part = blockIdx.x % a.parts, chunk = blockIdx.x / a.parts % a.chunks;
  const int k0 = blockIdx.x / (a.parts * a.chunks) * KT, lane = threadIdx.x % warp_size;
  const int first_tap = chunk * J * warp_size + lane;
  int offset[J];
#pragma unroll
  for (int j = 0; j < J; ++j) {
    const int t = first_tap + j * warp_size;
    offset[j] = t < a.taps ? t / (R * R) * a.plane + t / R % R * a.pitch + t % R : t == a.taps ? -1 : -2;
  }
  float sum[KT * J] = {};
  for (int image = part * a.images; image < min(a.N, (part + 1) * a.images); ++image) {
    __syncthreads();
    load_live(live, dout, winner, a, image);
    load_image<R>(tile, x + static_cast<std::int64_t>(image) * a.C * a.H * a.W, a);
    __syncthreads();
    for (int window = threadIdx.x / warp_size; window < a.PP * a.PQ; window += warps) {
      const int i = window / a.PQ, at = 2 * i * a.pitch + 2 * (window - i * a.PQ);
      float pixel[4][J];
#pragma unroll
      for (int place = 0; place < 4; ++place)
#pragma unroll
        for (int j = 0; j < J; ++j) {
          pixel[place][j] = offset[j] == -1 ? 1.0f : 0.0f;
          if (offset[j] >= 0) pixel[place][j] = tile[offset[j] + at + place / 2 * a.pitch + place % 2];
        }
#pragma unroll
      for (int k = 0; k < KT; ++k)
        if (k0 + k < a.K) {
          const Live g = live[window * a.K + k0 + k];
          at_place<Branch>(g.place, [&](auto place) {
#pragma unroll
            for (int j = 0; j < J; ++j)
              sum[k * J + j] = fmaf(g.gradient, pixel[place.value][j], sum[k * J + j]);
          });
        }
    }
  }
  add_warps(sum, reinterpret_cast<float*>(shared));
  if (threadIdx.x < warp_size)
#pragma unroll
    for (int k = 0; k < KT; ++k)
#pragma unroll
      for (int j = 0; j < J; ++j)
        if (k0 + k < a.K && offset[j] >= -1)
          parts[(static_cast<std::int64_t>(part) * a.K + k0 + k) * (a.taps + 1) + first_tap + j * warp_size] =
              sum[k * J + j];
}

// Block image groups + (group of channels).
template <int R, bool Branch>
__device__ __forceinline__ void input_part(const Shape& a, unsigned char* shared, int index, float* dx,
                                           const float* dout, const std::uint8_t* winner,
                                           const float* weight) {
  constexpr int J = dx_taps, M = dx_windows, padded = J * warp_size;
  const int windows = a.PP * a.PQ, outputs = 4 * windows, stride = outputs + 1;  // odd: lanes meet all banks
  const int image = index / a.groups, c0 = index % a.groups * a.channels, lane = threadIdx.x % warp_size;
  const int taps = min(a.channels, a.C - c0) * R * R;
  auto* live = reinterpret_cast<Live*>(shared);
  auto* taps_of = reinterpret_cast<float*>(live + windows * a.K);  // [k][padded]
  float* column = taps_of + a.K * padded;                          // [tap][stride]
  load_live(live, dout, winner, a, image);
  for (int k = threadIdx.x / warp_size; k < a.K; k += warps)
    for (int t = lane; t < padded; t += warp_size)
      taps_of[k * padded + t] = t < taps ? weight[k * a.taps + c0 * R * R + t] : 0.0f;
  __syncthreads();
  for (int first = threadIdx.x / warp_size * M; first < windows; first += warps * M) {
    float sum[M][4][J] = {};
    for (int k = 0; k < a.K; ++k) {
      float w[J];
#pragma unroll
      for (int j = 0; j < J; ++j) w[j] = taps_of[k * padded + lane + j * warp_size];
#pragma unroll
      for (int m = 0; m < M; ++m)
        if (first + m < windows) {
          const Live g = live[(first + m) * a.K + k];
          at_place<Branch>(g.place, [&](auto place) {
#pragma unroll
            for (int j = 0; j < J; ++j)
              sum[m][place.value][j] = fmaf(g.gradient, w[j], sum[m][place.value][j]);
          });
        }
    }
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const int i = (first + m) / a.PQ, at = 4 * i * a.PQ + 2 * (first + m - i * a.PQ);
#pragma unroll
      for (int j = 0; j < J; ++j)
        if (first + m < windows && lane + j * warp_size < taps)
#pragma unroll
          for (int place = 0; place < 4; ++place)
            column[(lane + j * warp_size) * stride + at + place / 2 * 2 * a.PQ + place % 2] =
                sum[m][place][j];
    }
  }
  __syncthreads();
  dx += (static_cast<std::int64_t>(image) * a.C + c0) * a.H * a.W;
  for (int e = threadIdx.x; e < taps / (R * R) * a.H * a.W; e += block) {
    const int line = e / a.W, c = line / a.H, h = line - c * a.H + a.pad_top, w = e - line * a.W + a.pad_left;
    float sum = 0;
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
      for (int s = 0; s < R; ++s)
        if (h - r >= 0 && h - r < 2 * a.PP && w - s >= 0 && w - s < 2 * a.PQ)
          sum += column[((c * R + r) * R + s) * stride + (h - r) * 2 * a.PQ + w - s];
    dx[e] = sum;
  }
}

template <int R, int J, int KT, bool Branch>
__global__ void __launch_bounds__(block, 2)
    sparse_kernel(Shape a, float* dx, float* parts, const float* dout, const std::uint8_t* winner,
                  const float* x, const float* weight) {
  DYNAMIC_SHARED(unsigned char, shared);
  const int index = static_cast<int>(blockIdx.x);
  if (index < a.weight_blocks)
    weight_part<R, J, KT, Branch>(a, shared, parts, dout, winner, x);
  else
    input_part<R, Branch>(a, shared, index - a.weight_blocks, dx, dout, winner, weight);
}

// Where the parts' sums belong: an element is (k, tap) of dw, or behind the taps k of db.
struct FinishWeight {
  float *dw, *db;  // may be null
  int taps;
  __device__ __forceinline__ void operator()(std::int64_t i, float sum) const {
    const int e = static_cast<int>(i), k = e / (taps + 1), t = e - k * (taps + 1);
    if (t == taps) {
      if (db) db[k] = sum;
    } else if (dw) {
      dw[k * taps + t] = sum;
    }
  }
};

// The next number from `least` on that is `rest` modulo 32: lanes of neighbouring taps meet neighbouring
// banks.
int in_bank(int least, int rest) { return least + ((rest - least) % 32 + 32) % 32; }

Shape shape_of(const Conv2dReluMaxPool2dBackwardArgs& args, int J, int KT) {
  const Conv2dParams& p = args.p;
  const auto number = [](std::int64_t n) { return static_cast<int>(n); };
  Shape a{};
  a.N = number(p.N), a.C = number(p.C), a.H = number(p.H), a.W = number(p.W), a.K = number(p.K);
  a.PP = number(args.pool.PP), a.PQ = number(args.pool.PQ);
  a.pad_top = number(p.pad_top), a.pad_left = number(p.pad_left);
  const int R = number(p.R);
  a.taps = a.C * R * R;
  a.pitch = in_bank(2 * a.PQ + R - 1, R);
  a.plane = in_bank((2 * a.PP + R - 1) * a.pitch, R * R);
  a.images = ceil_div(a.N, most_parts);
  a.parts = ceil_div(a.N, a.images);
  a.chunks = ceil_div(a.taps + 1, J * warp_size);
  a.weight_blocks = args.dw || args.db ? a.parts * a.chunks * ceil_div(a.K, KT) : 0;
  a.channels = dx_taps * warp_size / (R * R);
  a.channels = a.channels < a.C ? a.channels : a.C;
  a.groups = args.dx ? ceil_div(a.C, a.channels) : 0;
  return a;
}

std::size_t live_bytes(const Shape& a) { return sizeof(Live) * static_cast<std::size_t>(a.PP) * a.PQ * a.K; }

// Bytes of shared memory of a block for dw, and of one for dx.
std::size_t weight_bytes(const Shape& a, int J, int KT) {
  const std::size_t sums = sizeof(float) * KT * J * warp_size * warps / 2;
  const std::size_t tile = live_bytes(a) + sizeof(float) * static_cast<std::size_t>(a.C) * a.plane;
  return tile > sums ? tile : sums;
}
std::size_t input_bytes(const Shape& a, int R) {
  const std::size_t columns = static_cast<std::size_t>(a.channels) * R * R * (4 * a.PP * a.PQ + 1);
  return live_bytes(a) + sizeof(float) * (static_cast<std::size_t>(a.K) * dx_taps * warp_size + columns);
}

template <int R, int J, int KT>
Conv2dReluMaxPool2dBackwardArgs run(Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& args) {
  Conv2dReluMaxPool2dBackwardArgs mine = args, rest = args;
  const Shape whole = shape_of(args, J, KT);
  weight_bytes(whole, J, KT) <= shared_limit ? rest.dw = rest.db = nullptr : mine.dw = mine.db = nullptr;
  input_bytes(whole, R) <= shared_limit ? rest.dx = nullptr : mine.dx = nullptr;
  const Shape a = shape_of(mine, J, KT);
  const int elements = a.K * (a.taps + 1), blocks = a.weight_blocks + a.N * a.groups;
  if (blocks == 0) return rest;
  const std::size_t for_dw = a.weight_blocks ? weight_bytes(a, J, KT) : 0;
  const std::size_t for_dx = a.groups ? input_bytes(a, R) : 0, bytes = for_dw > for_dx ? for_dw : for_dx;
  const std::size_t part = a.weight_blocks ? sizeof(float) * static_cast<std::size_t>(elements) : 0;
  const Workspace parts(stream, part * static_cast<std::size_t>(a.parts));
  // Where warps abound, others run while one waits at a branch. The sums are the same.
  const auto kernel = blocks > 2 * properties(stream).multiprocessors ? sparse_kernel<R, J, KT, true>
                                                                      : sparse_kernel<R, J, KT, false>;
  if (bytes > 48 * 1024) allow_shared(kernel, bytes);
  launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(block), bytes, handle(stream), a,
         static_cast<float*>(mine.dx), parts.data<float>(), static_cast<const float*>(args.dout), args.winner,
         static_cast<const float*>(args.x), static_cast<const float*>(args.weight));
  if (a.weight_blocks)
    sum_parts(stream, parts.data<float>(), elements, a.parts,
              FinishWeight{static_cast<float*>(mine.dw), static_cast<float*>(mine.db), a.taps});
  return rest;
}

}  // namespace

Conv2dReluMaxPool2dBackwardArgs conv2d_relu_max_pool2d_tiled_backward(
    Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& args) {
  if (!conv2d_relu_max_pool2d_tiles(args.p, args.pool, args.dtype)) return args;
  const bool few = args.p.C * args.p.R * args.p.S < warp_size;
  if (args.p.R == 5) return few ? run<5, 1, 8>(stream, args) : run<5, 5, 16>(stream, args);
  return few ? run<3, 1, 8>(stream, args) : run<3, 5, 16>(stream, args);
}

}  // namespace weft::cuda
