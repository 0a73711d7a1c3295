// Convolution, ReLU and max-pooling in one kernel, and its gradients from the windows' winners; see
// ops/conv2d_relu_max_pool2d.h.
//
// Each entry is a policy: the first method that takes the problem does it.
//
//   tiled      2x2 windows of small images, from shared memory
//              (conv2d_relu_max_pool2d_tiled.cu, ..._sparse.cu)
//   composed   any problem: the convolution's own kernels around one that pools, or spreads the gradient.
//              These are bound by memory: 4 bytes an element of the convolution's output, and 5 a window
#include "cuda/conv2d.h"
#include "cuda/conv2d_relu_max_pool2d_tiled.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

__device__ __forceinline__ std::int64_t first_index() {
  return std::int64_t{blockIdx.x} * block + threadIdx.x;
}
__device__ __forceinline__ std::int64_t index_step() { return std::int64_t{gridDim.x} * block; }

template <class T>
__global__ void __launch_bounds__(block, 4)
    pool_kernel(Conv2dParams p, PoolWindow pool, T* out, std::uint8_t* winner, const T* y) {
  const std::int64_t count = p.N * p.K * pool.PP * pool.PQ;
  for (std::int64_t o = first_index(); o < count; o += index_step()) {
    const std::int64_t j = o % pool.PQ, i = o / pool.PQ % pool.PP, plane = o / (pool.PP * pool.PQ);
    const T* top = y + (plane * p.P + i * pool.h) * p.Q + j * pool.w;
    T best = *top;
    int at = 0, t = 0;
    for (int u = 0; u < pool.h; ++u)
      for (int v = 0; v < pool.w; ++v, ++t) {
        const T value = top[u * p.Q + v];
        if (value > best || isnan(value)) best = value, at = t;
      }
    out[o] = best <= 0 ? 0 : best;
    winner[o] = static_cast<std::uint8_t>(best <= 0 ? winner_cut : at);
  }
}

template <class T>
__global__ void __launch_bounds__(block)
    spread_kernel(Conv2dParams p, PoolWindow pool, T* dy, const T* dout, const std::uint8_t* winner) {
  const std::int64_t count = p.N * p.K * p.P * p.Q;
  for (std::int64_t e = first_index(); e < count; e += index_step()) {
    const std::int64_t col = e % p.Q, row = e / p.Q % p.P, plane = e / (p.P * p.Q);
    const std::int64_t i = row / pool.h, j = col / pool.w;
    T gradient = 0;
    if (i < pool.PP && j < pool.PQ) {
      const std::int64_t o = (plane * pool.PP + i) * pool.PQ + j;
      const int code = winner[o], t = static_cast<int>((row - i * pool.h) * pool.w + col - j * pool.w);
      if (code == t) gradient = dout[o];
    }
    dy[e] = gradient;
  }
}

template <class T>
void composed_forward(Stream& stream, const Conv2dReluMaxPool2dArgs& a) {
  const Conv2dParams& p = a.p;
  const Workspace y(stream, sizeof(T) * static_cast<std::size_t>(p.N * p.K * p.P * p.Q));
  conv2d_forward(stream, {p, a.dtype, y.data<T>(), a.x, a.weight, a.bias, Activation::none, 0});
  launch_over<block>(stream, pool_kernel<T>, p.N * p.K * a.pool.PP * a.pool.PQ, p, a.pool,
                     static_cast<T*>(a.out), a.winner, static_cast<const T*>(y.data<T>()));
}

template <class T>
void composed_backward(Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& a) {
  const Conv2dParams& p = a.p;
  const std::int64_t count = p.N * p.K * p.P * p.Q, weights = p.K * (p.C / p.groups) * p.R * p.S;
  const Workspace dy(stream, sizeof(T) * static_cast<std::size_t>(count));
  launch_over<block>(stream, spread_kernel<T>, count, p, a.pool, dy.data<T>(), static_cast<const T*>(a.dout),
                     a.winner);
  if (a.dx) conv2d_backward_input(stream, {p, a.dtype, a.dx, dy.data<T>(), a.weight});
  if (a.dw || a.db) {
    const Workspace unwanted(stream, a.dw ? 0 : sizeof(T) * static_cast<std::size_t>(weights));
    conv2d_backward_weight(stream, {p, a.dtype, a.dw ? a.dw : unwanted.data<T>(), a.db, dy.data<T>(), a.x});
  }
}

}  // namespace

void conv2d_relu_max_pool2d(Stream& stream, const Conv2dReluMaxPool2dArgs& a) {
  if (has_small_options(a.p) && conv2d_relu_max_pool2d_tiled(stream, a)) return;
  dispatch_floating(a.dtype, [&](auto type) { composed_forward<typename decltype(type)::type>(stream, a); });
}

void conv2d_relu_max_pool2d_backward(Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& a) {
  const Conv2dReluMaxPool2dBackwardArgs rest =
      has_small_options(a.p) ? conv2d_relu_max_pool2d_tiled_backward(stream, a) : a;
  if (!rest.dx && !rest.dw && !rest.db) return;
  dispatch_floating(a.dtype,
                    [&](auto type) { composed_backward<typename decltype(type)::type>(stream, rest); });
}

}  // namespace weft::cuda
