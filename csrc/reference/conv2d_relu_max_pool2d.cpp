// Convolution, ReLU and max-pooling one after the other, by their naive kernels; see
// ops/conv2d_relu_max_pool2d.h.
#include "core/allocator.h"
#include "reference/kernels.h"

namespace weft::reference {

namespace {

// Memory for y, dy or a gradient that nobody asked for.
template <class T>
struct Whole {
  explicit Whole(std::int64_t count)
      : bytes(static_cast<std::size_t>(count) * sizeof(T)),
        data(static_cast<T*>(cpu_allocator().allocate(bytes))) {}
  ~Whole() { cpu_allocator().deallocate(data, bytes); }
  Whole(const Whole&) = delete;
  Whole& operator=(const Whole&) = delete;
  std::size_t bytes;
  T* data;
};

// f(o, top): element o of the pooled output, and the index of its window's first element.
template <class F>
void for_each_window(const Conv2dParams& p, const PoolWindow& pool, F&& f) {
  std::int64_t o = 0;
  for (std::int64_t plane = 0; plane < p.N * p.K; ++plane)
    for (std::int64_t i = 0; i < pool.PP; ++i)
      for (std::int64_t j = 0; j < pool.PQ; ++j, ++o) f(o, (plane * p.P + i * pool.h) * p.Q + j * pool.w);
}

}  // namespace

void conv2d_relu_max_pool2d(Stream& stream, const Conv2dReluMaxPool2dArgs& a) {
  const Conv2dParams& p = a.p;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const Whole<T> y(p.N * p.K * p.P * p.Q);
    conv2d_forward(stream, {p, a.dtype, y.data, a.x, a.weight, a.bias, Activation::none, 0});
    for_each_window(p, a.pool, [&](std::int64_t o, std::int64_t top) {
      T best = y.data[top];
      std::int64_t winner = 0;
      for (std::int64_t t = 1; t < a.pool.h * a.pool.w; ++t) {
        const T v = y.data[top + t / a.pool.w * p.Q + t % a.pool.w];
        if (v > best || v != v) best = v, winner = t;
      }
      static_cast<T*>(a.out)[o] = best <= 0 ? 0 : best;
      a.winner[o] = static_cast<std::uint8_t>(best <= 0 ? winner_cut : winner);
    });
  });
}

void conv2d_relu_max_pool2d_backward(Stream& stream, const Conv2dReluMaxPool2dBackwardArgs& a) {
  const Conv2dParams& p = a.p;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t count = p.N * p.K * p.P * p.Q;
    const Whole<T> dy(count), unwanted(p.K * (p.C / p.groups) * p.R * p.S);
    for (std::int64_t i = 0; i < count; ++i) dy.data[i] = 0;
    for_each_window(p, a.pool, [&](std::int64_t o, std::int64_t top) {
      const std::uint8_t t = a.winner[o];
      if (t < a.pool.h * a.pool.w)
        dy.data[top + t / a.pool.w * p.Q + t % a.pool.w] = static_cast<const T*>(a.dout)[o];
    });
    if (a.dx) conv2d_backward_input(stream, {p, a.dtype, a.dx, dy.data, a.weight});
    if (a.dw || a.db)
      conv2d_backward_weight(stream, {p, a.dtype, a.dw ? a.dw : unwanted.data, a.db, dy.data, a.x});
  });
}

}  // namespace weft::reference
