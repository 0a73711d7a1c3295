// The poolings that networks are made of, on float32 planes one after the other (the general kernels of
// pool2d.cu are as quick where the channels lie last):
//
//   2x2     windows side by side, no padding, rows of a multiple of 4 columns: a thread reads 16 bytes of two
//           rows and makes two windows, and the other way round
//   3x3     in steps of 2, max: backward, a thread makes the 2x2 elements that its window and three
//           neighbours share out, so that dout and the index are read with 9 comparisons for 4 elements
//   whole   the average of each plane: a warp a plane; backward, a thread writes 16 bytes
//
// All are bound by memory. Bytes of an element of x: 2x2 max 4 + 1 + 1 forward, backward the same; average 5
// forward and backward; whole planes 4. The arithmetic of indices is a division or two for 16 bytes.
#include "cuda/device/reduce.h"
#include "cuda/device/vec.h"
#include "cuda/pool2d_fast.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;
using Pair = Pack<float, 2>;
using Quad = Pack<float, 4>;

// Where the elements of thread i's two windows are, which lie at 2 i of the output; `half` threads make a row
// of windows, `rows` of these a plane.
struct Place {
  std::int64_t top;  // of its 4 elements in the even row
  int col;           // of the first of these
  int row;           // in the plane
};
__device__ __forceinline__ Place place_of(int i, int half, int rows) {
  const int line = i / half, col = (i - line * half) * 4;  // line: of windows, of all planes
  return {(std::int64_t{2} * line) * (4 * half) + col, col, line % rows * 2};
}

template <bool Minimum>
__device__ __forceinline__ void contest(float& best, int& at, float value, int place) {
  if ((Minimum ? value < best : value > best) || isnan(value)) best = value, at = place;
}

template <bool Minimum>
__global__ void __launch_bounds__(block)
    max_2x2_kernel(float* out, std::int32_t* index, const float* x, int half, int rows, int count) {
  const int W = 4 * half;
  for (int i = blockIdx.x * block + threadIdx.x; i < count; i += gridDim.x * block) {
    const Place at = place_of(i, half, rows);
    const Quad a = load_pack<float, 4>(x + at.top), b = load_pack<float, 4>(x + at.top + W);
    Pair best;
    Pack<std::int32_t, 2> chosen;
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      const int first = at.row * W + at.col + 2 * w;
      best.v[w] = a.v[2 * w];
      chosen.v[w] = first;
      contest<Minimum>(best.v[w], chosen.v[w], a.v[2 * w + 1], first + 1);
      contest<Minimum>(best.v[w], chosen.v[w], b.v[2 * w], first + W);
      contest<Minimum>(best.v[w], chosen.v[w], b.v[2 * w + 1], first + W + 1);
    }
    store_pack(out + std::int64_t{2} * i, best);
    if (index) store_pack(index + std::int64_t{2} * i, chosen);
  }
}

__global__ void __launch_bounds__(block)
    max_2x2_backward_kernel(float* dx, const float* dout, const std::int32_t* index, int half, int rows,
                            int count) {
  const int W = 4 * half;
  for (int i = blockIdx.x * block + threadIdx.x; i < count; i += gridDim.x * block) {
    const Place at = place_of(i, half, rows);
    const Pair d = load_pack<float, 2>(dout + std::int64_t{2} * i);
    const Pack<std::int32_t, 2> chosen = load_pack<std::int32_t, 2>(index + std::int64_t{2} * i);
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      const int first = (at.row + u) * W + at.col;
      Quad row;
#pragma unroll
      for (int v = 0; v < 4; ++v) row.v[v] = chosen.v[v / 2] == first + v ? d.v[v / 2] : 0.0f;
      store_pack(dx + at.top + u * W, row);
    }
  }
}

__global__ void __launch_bounds__(block)
    avg_2x2_kernel(float* out, const float* x, int half, int count, float divisor) {
  const int W = 4 * half;
  for (int i = blockIdx.x * block + threadIdx.x; i < count; i += gridDim.x * block) {
    const Place at = place_of(i, half, 1);
    const Quad a = load_pack<float, 4>(x + at.top), b = load_pack<float, 4>(x + at.top + W);
    Pair mean;
#pragma unroll
    for (int w = 0; w < 2; ++w)
      mean.v[w] = ((a.v[2 * w] + a.v[2 * w + 1]) + (b.v[2 * w] + b.v[2 * w + 1])) / divisor;
    store_pack(out + std::int64_t{2} * i, mean);
  }
}

__global__ void __launch_bounds__(block)
    avg_2x2_backward_kernel(float* dx, const float* dout, int half, int count, float divisor) {
  const int W = 4 * half;
  for (int i = blockIdx.x * block + threadIdx.x; i < count; i += gridDim.x * block) {
    const Place at = place_of(i, half, 1);
    const Pair d = load_pack<float, 2>(dout + std::int64_t{2} * i);
    const float left = d.v[0] / divisor, right = d.v[1] / divisor;
    const Quad row{{left, left, right, right}};
    store_pack(dx + at.top, row);
    store_pack(dx + at.top + W, row);
  }
}

// Sizes of planes and windows of 3x3 in steps of 2.
struct Steps {
  int H, W, P, Q, pad_h, pad_w;
  int tiles_h, tiles_w;  // 2x2 elements, the first at (-pad_h, -pad_w)
};

// The elements of tile (a, b) are in the windows (a - 1 or a, b - 1 or b), an odd row only in window a, and
// so on.
__global__ void __launch_bounds__(block)
    max_3x3_backward_kernel(Steps s, float* dx, const float* dout, const std::int32_t* index, int count) {
  for (int i = blockIdx.x * block + threadIdx.x; i < count; i += gridDim.x * block) {
    const int line = i / s.tiles_w, b = i - line * s.tiles_w, plane = line / s.tiles_h,
              a = line - plane * s.tiles_h;
    const int top = 2 * a - s.pad_h, left = 2 * b - s.pad_w;
    float sum[2][2] = {};
#pragma unroll
    for (int p = -1; p <= 0; ++p)
#pragma unroll
      for (int q = -1; q <= 0; ++q)
        if (a + p >= 0 && a + p < s.P && b + q >= 0 && b + q < s.Q) {
          const std::int64_t window = (std::int64_t{plane} * s.P + a + p) * s.Q + b + q;
          const int at = index[window] - top * s.W - left;
          const float d = dout[window];
          // Window a - 1 ends with the first row of tile a.
#pragma unroll
          for (int u = 0; u < (p < 0 ? 1 : 2); ++u)
#pragma unroll
            for (int v = 0; v < (q < 0 ? 1 : 2); ++v)
              if (at == u * s.W + v) sum[u][v] += d;
        }
#pragma unroll
    for (int u = 0; u < 2; ++u)
#pragma unroll
      for (int v = 0; v < 2; ++v)
        if (top + u >= 0 && top + u < s.H && left + v >= 0 && left + v < s.W)
          dx[(std::int64_t{plane} * s.H + top + u) * s.W + left + v] = sum[u][v];
  }
}

// A warp adds up a plane, V elements a lane and turn.
template <int V>
__global__ void __launch_bounds__(block)
    avg_plane_kernel(float* out, const float* x, std::int64_t planes, int size, float divisor) {
  const int lane = threadIdx.x % warp_size;
  for (std::int64_t plane = std::int64_t{blockIdx.x} * (block / warp_size) + threadIdx.x / warp_size;
       plane < planes; plane += std::int64_t{gridDim.x} * (block / warp_size)) {
    const float* from = x + plane * size;
    float sum = 0;
#pragma unroll 4
    for (int j = lane * V; j < size; j += warp_size * V) {
      const Pack<float, V> values = load_pack<float, V>(from + j);
      float part = 0;
#pragma unroll
      for (int v = 0; v < V; ++v) part += values.v[v];
      sum += part;
    }
    sum = warp_reduce<Sum<float>>(sum);
    if (lane == 0) out[plane] = sum / divisor;
  }
}

template <int V>
__global__ void __launch_bounds__(block)
    avg_plane_backward_kernel(float* dx, const float* dout, int packs, int count, float divisor) {
  for (int i = blockIdx.x * block + threadIdx.x; i < count; i += gridDim.x * block) {
    const float share = dout[i / packs] / divisor;
    Pack<float, V> all;
#pragma unroll
    for (int v = 0; v < V; ++v) all.v[v] = share;
    store_pack(dx + std::int64_t{V} * i, all);
  }
}

// --- which problems ---

constexpr std::int64_t most = std::int64_t{1}
                              << 30;  // threads, elements of a plane: with room for a turn of the loop

bool planes_of_floats(const Pool2dParams& p, DType dtype) {
  return dtype == DType::float32 && !p.channels_last && p.N * p.C * p.H * p.W < 4 * most && p.H * p.W < most;
}

bool fixed(const Pool2dParams& p, std::int64_t window, std::int64_t stride) {
  return !p.adaptive && p.R == window && p.S == window && p.stride_h == stride && p.stride_w == stride &&
         p.dilation_h == 1 && p.dilation_w == 1;
}

bool is_2x2(const Pool2dParams& p, DType dtype) {
  return planes_of_floats(p, dtype) && fixed(p, 2, 2) && p.pad_h == 0 && p.pad_w == 0 && p.W % 4 == 0 &&
         p.H % 2 == 0;
}
bool is_3x3(const Pool2dParams& p, DType dtype) {
  return planes_of_floats(p, dtype) && fixed(p, 3, 2) && p.pad_h <= 1 && p.pad_w <= 1;
}
bool is_whole(const Pool2dParams& p, DType dtype) {
  const bool window = p.adaptive || (p.R == p.H && p.S == p.W && p.pad_h == 0 && p.pad_w == 0);
  return planes_of_floats(p, dtype) && window && p.P == 1 && p.Q == 1;
}

float divisor(const AvgPool2dArgs& a, std::int64_t window) {
  return static_cast<float>(a.divisor_override ? a.divisor_override : window);
}

struct Halves {
  int half, rows, count;  // pairs of windows in a row, rows of windows in a plane, pairs in all
};
Halves halves(const Pool2dParams& p) {
  return {static_cast<int>(p.W / 4), static_cast<int>(p.P), static_cast<int>(p.N * p.C * p.P * (p.W / 4))};
}

}  // namespace

bool max_pool2d_fast(Stream& stream, const MaxPool2dArgs& a) {
  if (!is_2x2(a.p, a.dtype) || !aligned(a.x) || !aligned(a.out, 8) || !aligned(a.index, 8)) return false;
  const Halves s = halves(a.p);
  launch_over<block>(stream, a.minimum ? max_2x2_kernel<true> : max_2x2_kernel<false>, s.count,
                     static_cast<float*>(a.out), a.index, static_cast<const float*>(a.x), s.half, s.rows,
                     s.count);
  return true;
}

bool max_pool2d_backward_fast(Stream& stream, const MaxPool2dBackwardArgs& a) {
  auto* dx = static_cast<float*>(a.dx);
  const auto* dout = static_cast<const float*>(a.dout);
  if (is_2x2(a.p, a.dtype) && aligned(a.dx) && aligned(a.dout, 8) && aligned(a.index, 8)) {
    const Halves s = halves(a.p);
    launch_over<block>(stream, max_2x2_backward_kernel, s.count, dx, dout, a.index, s.half, s.rows, s.count);
    return true;
  }
  if (is_3x3(a.p, a.dtype)) {
    const auto number = [](std::int64_t n) { return static_cast<int>(n); };
    const Pool2dParams& p = a.p;
    const Steps s{number(p.H),
                  number(p.W),
                  number(p.P),
                  number(p.Q),
                  number(p.pad_h),
                  number(p.pad_w),
                  number((p.H + p.pad_h + 1) / 2),
                  number((p.W + p.pad_w + 1) / 2)};
    const std::int64_t count = p.N * p.C * s.tiles_h * s.tiles_w;
    if (count >= most) return false;
    launch_over<block>(stream, max_3x3_backward_kernel, count, s, dx, dout, a.index, number(count));
    return true;
  }
  return false;
}

bool avg_pool2d_fast(Stream& stream, const AvgPool2dArgs& a) {
  auto* out = static_cast<float*>(a.dst);
  const auto* x = static_cast<const float*>(a.src);
  if (is_2x2(a.p, a.dtype) && aligned(x) && aligned(out, 8)) {
    const Halves s = halves(a.p);
    launch_over<block>(stream, avg_2x2_kernel, s.count, out, x, s.half, s.count, divisor(a, 4));
    return true;
  }
  if (is_whole(a.p, a.dtype)) {
    const std::int64_t planes = a.p.N * a.p.C;
    const int size = static_cast<int>(a.p.H * a.p.W);
    launch_over<block>(stream, size % 4 == 0 && aligned(x) ? avg_plane_kernel<4> : avg_plane_kernel<1>,
                       planes * warp_size, out, x, planes, size, divisor(a, size));
    return true;
  }
  return false;
}

bool avg_pool2d_backward_fast(Stream& stream, const AvgPool2dArgs& a) {
  auto* dx = static_cast<float*>(a.dst);
  const auto* dout = static_cast<const float*>(a.src);
  if (is_2x2(a.p, a.dtype) && aligned(dx) && aligned(dout, 8)) {
    const Halves s = halves(a.p);
    launch_over<block>(stream, avg_2x2_backward_kernel, s.count, dx, dout, s.half, s.count, divisor(a, 4));
    return true;
  }
  const int size = static_cast<int>(a.p.H * a.p.W), V = size % 4 == 0 && aligned(dx) ? 4 : 1;
  if (is_whole(a.p, a.dtype) && a.p.N * a.p.C * size / V < most) {
    const int count = static_cast<int>(a.p.N * a.p.C * size / V);
    launch_over<block>(stream, V == 4 ? avg_plane_backward_kernel<4> : avg_plane_backward_kernel<1>, count,
                       dx, dout, size / V, count, divisor(a, size));
    return true;
  }
  return false;
}

}  // namespace weft::cuda
