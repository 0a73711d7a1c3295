// Convolution, ReLU and max-pooling in one kernel, and its gradients from the windows' winners; see
// ops/conv2d_relu_max_pool2d.h.
//
//   simple   any problem: a thread per window forward and per element of x backward; a block per element of
//   dw and
//            of db, which adds up in an order of its own that depends on nothing else
#include "cuda/device/reduce.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

__device__ __forceinline__ std::int64_t first_index() {
  return std::int64_t{blockIdx.x} * block + threadIdx.x;
}
__device__ __forceinline__ std::int64_t index_step() { return std::int64_t{gridDim.x} * block; }

// Element (k, p, q) of image n's convolution.
template <class T>
__device__ T convolve(const Conv2dParams& p, const T* x, const T* weight, T sum, std::int64_t n,
                      std::int64_t k, std::int64_t i, std::int64_t j) {
  const std::int64_t C = p.C / p.groups, group = k / (p.K / p.groups);
  for (std::int64_t c = 0; c < C; ++c) {
    const T* plane = x + (n * p.C + group * C + c) * p.H * p.W;
    const T* taps = weight + (k * C + c) * p.R * p.S;
    for (std::int64_t r = 0; r < p.R; ++r) {
      const std::int64_t h = i * p.stride_h + r * p.dilation_h - p.pad_top;
      if (h < 0 || h >= p.H) continue;
      for (std::int64_t s = 0; s < p.S; ++s) {
        const std::int64_t w = j * p.stride_w + s * p.dilation_w - p.pad_left;
        if (w >= 0 && w < p.W) sum += plane[h * p.W + w] * taps[r * p.S + s];
      }
    }
  }
  return sum;
}

template <class T>
__global__ void __launch_bounds__(block, 2)
    forward_kernel(Conv2dParams p, PoolWindow pool, T* out, std::uint8_t* winner, const T* x, const T* weight,
                   const T* bias) {
  const std::int64_t count = p.N * p.K * pool.PP * pool.PQ;
  for (std::int64_t o = first_index(); o < count; o += index_step()) {
    const std::int64_t j = o % pool.PQ, i = o / pool.PQ % pool.PP, plane = o / (pool.PP * pool.PQ);
    const std::int64_t k = plane % p.K, n = plane / p.K;
    T best = 0;
    int at = 0;
    for (int t = 0; t < pool.h * pool.w; ++t) {
      const T y = convolve(p, x, weight, bias ? bias[k] : T(0), n, k, i * pool.h + t / pool.w,
                           j * pool.w + t % pool.w);
      if (t == 0 || y > best || isnan(y)) best = y, at = t;
    }
    out[o] = best <= 0 ? 0 : best;
    winner[o] = static_cast<std::uint8_t>(best <= 0 ? winner_cut : isnan(best) ? winner_nan + at : at);
  }
}

// A window's gradient and the position of its winner; position -1 where there is none.
template <class T>
struct Live {
  T gradient;
  std::int64_t row, col;
};
template <class T>
__device__ Live<T> live_gradient(const PoolWindow& pool, const T* dout, const std::uint8_t* winner,
                                 std::int64_t o, std::int64_t i, std::int64_t j) {
  const int code = winner[o], t = code % winner_cut;
  if (code / winner_cut % 2 != 0 || t >= pool.h * pool.w) return {0, -1, -1};
  return {code & winner_nan ? T(NAN) : dout[o], i * pool.h + t / pool.w, j * pool.w + t % pool.w};
}

// The range of windows along one axis that can hold an output whose tap meets element h.
__device__ __forceinline__ std::int64_t first_window(std::int64_t reach, std::int64_t stride,
                                                     std::int64_t size) {
  return reach > 0 ? (reach + stride - 1) / stride / size : 0;
}

template <class T>
__global__ void __launch_bounds__(block, 2)
    input_kernel(Conv2dParams p, PoolWindow pool, T* dx, const T* dout, const std::uint8_t* winner,
                 const T* weight) {
  const std::int64_t count = p.N * p.C * p.H * p.W, C = p.C / p.groups, K = p.K / p.groups;
  for (std::int64_t e = first_index(); e < count; e += index_step()) {
    const std::int64_t w = e % p.W + p.pad_left, h = e / p.W % p.H + p.pad_top, plane = e / (p.W * p.H);
    const std::int64_t channel = plane % p.C, n = plane / p.C, group = channel / C, c = channel % C;
    const std::int64_t i0 = first_window(h - p.dilation_h * (p.R - 1), p.stride_h, pool.h);
    const std::int64_t j0 = first_window(w - p.dilation_w * (p.S - 1), p.stride_w, pool.w);
    const std::int64_t i1 = min(h / p.stride_h / pool.h + 1, pool.PP),
                       j1 = min(w / p.stride_w / pool.w + 1, pool.PQ);
    T sum = 0;
    for (std::int64_t k = group * K; k < group * K + K; ++k)
      for (std::int64_t i = i0; i < i1; ++i)
        for (std::int64_t j = j0; j < j1; ++j) {
          const Live<T> g =
              live_gradient(pool, dout, winner, ((n * p.K + k) * pool.PP + i) * pool.PQ + j, i, j);
          const std::int64_t dh = h - g.row * p.stride_h, dw = w - g.col * p.stride_w;  // tap times dilation
          const std::int64_t r = dh / p.dilation_h, s = dw / p.dilation_w;
          if (g.row >= 0 && dh >= 0 && dw >= 0 && r < p.R && s < p.S && r * p.dilation_h == dh &&
              s * p.dilation_w == dw)
            sum += g.gradient * weight[((k * C + c) * p.R + r) * p.S + s];
        }
    dx[e] = sum;
  }
}

// A block for each element of dw, or (taps = 1, x = null) of db.
template <class T>
__global__ void __launch_bounds__(block)
    weight_kernel(Conv2dParams p, PoolWindow pool, T* dw, const T* dout, const std::uint8_t* winner,
                  const T* x, std::int64_t taps) {
  const std::int64_t C = p.C / p.groups, windows = pool.PP * pool.PQ;
  for (std::int64_t e = blockIdx.x; e < p.K * taps; e += gridDim.x) {
    const std::int64_t k = e / taps, tap = e % taps, s = tap % p.S, r = tap / p.S % p.R;
    const std::int64_t channel = k / (p.K / p.groups) * C + tap / (p.S * p.R);
    T sum = 0;
    for (std::int64_t o = threadIdx.x; o < p.N * windows; o += block) {
      const std::int64_t n = o / windows, at = o % windows;
      const Live<T> g =
          live_gradient(pool, dout, winner, (n * p.K + k) * windows + at, at / pool.PQ, at % pool.PQ);
      const std::int64_t h = g.row * p.stride_h + r * p.dilation_h - p.pad_top;
      const std::int64_t w = g.col * p.stride_w + s * p.dilation_w - p.pad_left;
      if (g.row < 0) continue;
      if (!x)
        sum += g.gradient;
      else if (h >= 0 && h < p.H && w >= 0 && w < p.W)
        sum += g.gradient * x[((n * p.C + channel) * p.H + h) * p.W + w];
    }
    sum = block_reduce<Sum<T>, block>(sum);
    if (threadIdx.x == 0) dw[e] = sum;
  }
}

template <class T>
void simple_forward(Stream& stream, const Conv2dReluMaxPool2dArgs& a) {
  const unsigned grid = grid_for(stream, a.p.N * a.p.K * a.pool.PP * a.pool.PQ, block);
  launch(forward_kernel<T>, dim3(grid), dim3(block), 0, handle(stream), a.p, a.pool, static_cast<T*>(a.out),
         a.winner, static_cast<const T*>(a.x), static_cast<const T*>(a.weight),
         static_cast<const T*>(a.bias));
}

template <class T>
void simple_backward(Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& a) {
  const auto* dout = static_cast<const T*>(a.dout);
  const std::int64_t taps = a.p.C / a.p.groups * a.p.R * a.p.S, most = 1 << 30;
  if (a.dx)
    launch(input_kernel<T>, dim3(grid_for(stream, a.p.N * a.p.C * a.p.H * a.p.W, block)), dim3(block), 0,
           handle(stream), a.p, a.pool, static_cast<T*>(a.dx), dout, a.winner,
           static_cast<const T*>(a.weight));
  const auto sums = [&](void* to, const void* x, std::int64_t per_k) {
    const auto grid = static_cast<unsigned>(a.p.K * per_k < most ? a.p.K * per_k : most);
    launch(weight_kernel<T>, dim3(grid), dim3(block), 0, handle(stream), a.p, a.pool, static_cast<T*>(to),
           dout, a.winner, static_cast<const T*>(x), per_k);
  };
  if (a.dw) sums(a.dw, a.x, taps);
  if (a.db) sums(a.db, nullptr, 1);
}

}  // namespace

void conv2d_relu_max_pool2d(Stream& stream, const Conv2dReluMaxPool2dArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) { simple_forward<typename decltype(type)::type>(stream, a); });
}

void conv2d_relu_max_pool2d_backward(Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) { simple_backward<typename decltype(type)::type>(stream, a); });
}

}  // namespace weft::cuda
