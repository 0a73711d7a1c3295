// Two-dimensional convolution and its gradients as seven loops; see ops/conv2d.h. Sums are kept in double.
#include "reference/kernels.h"

namespace weft::reference {

namespace {

// The element of channel c at row i, column j of image n, of images of `channels` channels, height x width.
std::int64_t at(const Conv2dParams& p, std::int64_t n, std::int64_t c, std::int64_t i, std::int64_t j,
                std::int64_t channels, std::int64_t height, std::int64_t width) {
  return p.channels_last ? ((n * height + i) * width + j) * channels + c
                         : ((n * channels + c) * height + i) * width + j;
}

// The channel of element i of the output.
std::int64_t channel_of(const Conv2dParams& p, std::int64_t i) {
  return p.channels_last ? i % p.K : i / (p.P * p.Q) % p.K;
}

// f(index into x, index into weight, index into out) for every product of the convolution.
template <class F>
void for_each_product(const Conv2dParams& p, F&& f) {
  const std::int64_t C = p.C / p.groups, K = p.K / p.groups;
  for (std::int64_t n = 0; n < p.N; ++n)
    for (std::int64_t k = 0; k < p.K; ++k)
      for (std::int64_t i = 0; i < p.P; ++i)
        for (std::int64_t j = 0; j < p.Q; ++j)
          for (std::int64_t c = 0; c < C; ++c)
            for (std::int64_t r = 0; r < p.R; ++r)
              for (std::int64_t s = 0; s < p.S; ++s) {
                const std::int64_t h = i * p.stride_h + r * p.dilation_h - p.pad_top;
                const std::int64_t w = j * p.stride_w + s * p.dilation_w - p.pad_left;
                if (h < 0 || h >= p.H || w < 0 || w >= p.W) continue;  // padding: zero
                const std::int64_t channel = k / K * C + c;
                f(at(p, n, channel, h, w, p.C, p.H, p.W), ((k * C + c) * p.R + r) * p.S + s,
                  at(p, n, k, i, j, p.K, p.P, p.Q));
              }
}

// A sum in double for each element of an output of T.
template <class T>
struct Sums {
  explicit Sums(std::int64_t count) : count(count), data(new double[static_cast<std::size_t>(count)]()) {}
  ~Sums() { delete[] data; }
  Sums(const Sums&) = delete;
  Sums& operator=(const Sums&) = delete;
  void store(void* out) const {
    for (std::int64_t i = 0; i < count; ++i) static_cast<T*>(out)[i] = static_cast<T>(data[i]);
  }
  std::int64_t count;
  double* data;
};

}  // namespace

void conv2d_forward(Stream& stream, const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto* x = static_cast<const T*>(a.x);
    const auto* weight = static_cast<const T*>(a.weight);
    const auto* bias = static_cast<const T*>(a.bias);
    const Sums<T> sums(p.N * p.K * p.P * p.Q);
    if (bias)
      for (std::int64_t i = 0; i < sums.count; ++i) sums.data[i] = double{bias[channel_of(p, i)]};
    for_each_product(p, [&](std::int64_t xi, std::int64_t wi, std::int64_t oi) {
      sums.data[oi] += double{x[xi]} * double{weight[wi]};
    });
    sums.store(a.out);
    if (a.activation != Activation::none)
      activation_forward(stream, {a.activation, a.dtype, sums.count, a.out, a.out, a.activation_alpha});
  });
}

void conv2d_backward_input(Stream&, const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto* dout = static_cast<const T*>(a.dout);
    const auto* weight = static_cast<const T*>(a.weight);
    const Sums<T> sums(p.N * p.C * p.H * p.W);
    for_each_product(p, [&](std::int64_t xi, std::int64_t wi, std::int64_t oi) {
      sums.data[xi] += double{dout[oi]} * double{weight[wi]};
    });
    sums.store(a.dx);
  });
}

void conv2d_backward_weight(Stream&, const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto* dout = static_cast<const T*>(a.dout);
    const auto* x = static_cast<const T*>(a.x);
    const Sums<T> sums(p.K * (p.C / p.groups) * p.R * p.S);
    for_each_product(p, [&](std::int64_t xi, std::int64_t wi, std::int64_t oi) {
      sums.data[wi] += double{dout[oi]} * double{x[xi]};
    });
    sums.store(a.dw);
    if (!a.db) return;
    const Sums<T> bias(p.K);
    for (std::int64_t i = 0; i < p.N * p.K * p.P * p.Q; ++i) bias.data[channel_of(p, i)] += double{dout[i]};
    bias.store(a.db);
  });
}

}  // namespace weft::reference
