// Convolution, bias, ReLU and max-pooling; see ops/conv2d_relu_max_pool2d.h. Each entry is a policy: the
// first method that takes the problem does it.
//
//   images      5x5 windows, few channels, many images: fewer products (conv2d_winograd_images.cpp)
//   direct      2x2 windows and few channels: pooled in registers (conv2d_relu_max_pool2d_direct.cpp)
//   sparse      its gradients, from the live ones alone (conv2d_relu_max_pool2d_sparse.cpp)
//   composed    the convolution's own kernels around a pass that pools, or spreads the gradient
#include "cpu/conv2d_columns.h"
#include "cpu/conv2d_relu_max_pool2d_direct.h"
#include "cpu/conv2d_relu_max_pool2d_sparse.h"
#include "cpu/conv2d_winograd_images.h"
#include "cpu/denormals.h"
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

// One plane of y (P,Q) to one of out and winner (PP,PQ). Bitwise operators: no branch.
template <class T>
void pool_plane(const Conv2dParams& p, const PoolWindow& pool, const T* y, T* out, std::uint8_t* winner) {
  for (std::int64_t i = 0; i < pool.PP; ++i, out += pool.PQ, winner += pool.PQ) {
    const T* row = y + i * pool.h * p.Q;
    for (std::int64_t j = 0; j < pool.PQ; ++j) {
      T best = row[j * pool.w];
      std::int32_t at = 0, t = 0;
      for (std::int64_t u = 0; u < pool.h; ++u)
        for (std::int64_t v = 0; v < pool.w; ++v, ++t) {
          const T value = row[u * p.Q + j * pool.w + v];
          const bool wins = (value > best) | (value != value);
          best = wins ? value : best;
          at = wins ? t : at;
        }
      out[j] = best <= 0 ? 0 : best;
      winner[j] = static_cast<std::uint8_t>(best <= 0 ? winner_cut : at);
    }
  }
}

template <class T>
void spread_plane(const Conv2dParams& p, const PoolWindow& pool, const T* dout, const std::uint8_t* winner,
                  T* dy) {
  for (std::int64_t i = 0; i < p.P * p.Q; ++i) dy[i] = 0;
  const auto size = static_cast<std::int32_t>(pool.h * pool.w), w = static_cast<std::int32_t>(pool.w);
  for (std::int64_t i = 0; i < pool.PP; ++i)
    for (std::int64_t j = 0; j < pool.PQ; ++j, ++dout, ++winner) {
      const std::int32_t t = *winner;
      if (t < size) dy[(i * pool.h + t / w) * p.Q + j * pool.w + t % w] = *dout;
    }
}

void composed_forward(Stream& stream, const Conv2dReluMaxPool2dArgs& a) {
  const Conv2dParams& p = a.p;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t planes = p.N * p.K, in = p.P * p.Q, outs = a.pool.PP * a.pool.PQ;
    const Scratch<T> y(planes * in);
    conv2d_forward(stream, {p, a.dtype, y.data(), a.x, a.weight, a.bias, Activation::none, 0});
    parallel_tasks(planes, planes * in, [&](std::int64_t plane) {
      pool_plane(p, a.pool, y.data() + plane * in, static_cast<T*>(a.out) + plane * outs,
                 a.winner + plane * outs);
    });
  });
}

void composed_backward(Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& a) {
  const Conv2dParams& p = a.p;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t planes = p.N * p.K, in = p.P * p.Q, outs = a.pool.PP * a.pool.PQ;
    const Scratch<T> dy(planes * in), unwanted(a.dw ? 0 : p.K * (p.C / p.groups) * p.R * p.S);
    parallel_tasks(planes, planes * in, [&](std::int64_t plane) {
      spread_plane(p, a.pool, static_cast<const T*>(a.dout) + plane * outs, a.winner + plane * outs,
                   dy.data() + plane * in);
    });
    if (a.dx) conv2d_backward_input(stream, {p, a.dtype, a.dx, dy.data(), a.weight});
    if (a.dw || a.db)
      conv2d_backward_weight(stream, {p, a.dtype, a.dw ? a.dw : unwanted.data(), a.db, dy.data(), a.x});
  });
}

}  // namespace

void conv2d_relu_max_pool2d(Stream& stream, const Conv2dReluMaxPool2dArgs& a) {
  const FlushDenormals flush;
  if (!is_mostly_padding(a.p) &&
      (conv2d_winograd_images_pooled_forward(a) || conv2d_relu_max_pool2d_direct(a)))
    return;
  composed_forward(stream, a);
}

void conv2d_relu_max_pool2d_backward(Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& a) {
  const FlushDenormals flush;
  if (!is_mostly_padding(a.p) &&
      (conv2d_winograd_images_pooled_backward(a) || conv2d_relu_max_pool2d_sparse(a)))
    return;
  composed_backward(stream, a);
}

}  // namespace weft::cpu::WEFT_ISA
