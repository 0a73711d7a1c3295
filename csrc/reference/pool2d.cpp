// Pooling; the definitions are in ops/pool2d.h.
#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/kernels.h"

namespace weft::reference {

namespace {

// The rows (or columns) of a window that lie inside the image: begin, begin + step, ... below end.
struct Span {
  std::int64_t begin, end, step;
  std::int64_t padded;  // how many rows it has inside the padded image
};

Span fixed_span(std::int64_t i, std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                std::int64_t dilation) {
  const std::int64_t start = i * stride - pad, extent = dilation * (kernel - 1) + 1;
  const std::int64_t begin = start >= 0 ? start : start + (-start + dilation - 1) / dilation * dilation;
  return {begin, std::min(start + extent, in), dilation, std::min(start + extent, in + pad) - start};
}

Span adaptive_span(std::int64_t i, std::int64_t in, std::int64_t out) {
  const std::int64_t begin = i * in / out, end = ((i + 1) * in + out - 1) / out;
  return {begin, end, 1, end - begin};
}

Span rows(const Pool2dParams& p, std::int64_t i) {
  return p.adaptive ? adaptive_span(i, p.H, p.P) : fixed_span(i, p.H, p.R, p.stride_h, p.pad_h, p.dilation_h);
}
Span columns(const Pool2dParams& p, std::int64_t i) {
  return p.adaptive ? adaptive_span(i, p.W, p.Q) : fixed_span(i, p.W, p.S, p.stride_w, p.pad_w, p.dilation_w);
}

// Where element j of a plane of `size` elements lies.
std::int64_t at(const Pool2dParams& p, std::int64_t plane, std::int64_t j, std::int64_t size) {
  return p.channels_last ? (plane / p.C * size + j) * p.C + plane % p.C : plane * size + j;
}

// f(plane, i, h, w): output element i of each plane, with the rows and columns of its window.
template <class F>
void for_each_window(const Pool2dParams& p, F&& f) {
  for (std::int64_t plane = 0; plane < p.N * p.C; ++plane)
    for (std::int64_t i = 0; i < p.P * p.Q; ++i) f(plane, i, rows(p, i / p.Q), columns(p, i % p.Q));
}

// f(j): each element j of the plane that lies in the window, in row-major order.
template <class F>
void for_each_element(const Pool2dParams& p, const Span& h, const Span& w, F&& f) {
  for (std::int64_t y = h.begin; y < h.end; y += h.step)
    for (std::int64_t x = w.begin; x < w.end; x += w.step) f(y * p.W + x);
}

template <class T>
T divisor(const AvgPool2dArgs& a, const Span& h, const Span& w) {
  if (a.divisor_override) return static_cast<T>(a.divisor_override);
  if (!a.count_include_pad) return static_cast<T>((h.end - h.begin) * (w.end - w.begin));
  // As doubles: of the largest padding 64 bits do not hold the product.
  return static_cast<T>(static_cast<double>(h.padded) * static_cast<double>(w.padded));
}

}  // namespace

void max_pool2d_forward(Stream&, const MaxPool2dArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t in = a.p.H * a.p.W, outs = a.p.P * a.p.Q;
    for_each_window(a.p, [&](std::int64_t plane, std::int64_t i, const Span& h, const Span& w) {
      const T* x = static_cast<const T*>(a.x);
      T best = a.minimum ? std::numeric_limits<T>::infinity() : -std::numeric_limits<T>::infinity();
      std::int64_t chosen = -1;
      for_each_element(a.p, h, w, [&](std::int64_t j) {
        const T value = x[at(a.p, plane, j, in)];
        if (chosen < 0 || (a.minimum ? value < best : value > best) || std::isnan(value)) {
          best = value;
          chosen = j;
        }
      });
      const std::int64_t to = at(a.p, plane, i, outs);
      static_cast<T*>(a.out)[to] = best;
      if (a.index) a.index[to] = static_cast<std::int32_t>(chosen);
    });
  });
}

void max_pool2d_backward(Stream&, const MaxPool2dBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t planes = a.p.N * a.p.C, in = a.p.H * a.p.W, outs = a.p.P * a.p.Q;
    auto* dx = static_cast<T*>(a.dx);
    const auto* dout = static_cast<const T*>(a.dout);
    for (std::int64_t i = 0; i < planes * in; ++i) dx[i] = 0;
    for (std::int64_t i = 0; i < planes * outs; ++i) {
      const std::int64_t from = at(a.p, i / outs, i % outs, outs), j = a.index[from];
      if (j >= 0 && j < in) dx[at(a.p, i / outs, j, in)] += dout[from];
    }
  });
}

void avg_pool2d_forward(Stream&, const AvgPool2dArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t in = a.p.H * a.p.W, outs = a.p.P * a.p.Q;
    for_each_window(a.p, [&](std::int64_t plane, std::int64_t i, const Span& h, const Span& w) {
      const T* x = static_cast<const T*>(a.src);
      T sum = 0;
      for_each_element(a.p, h, w, [&](std::int64_t j) { sum += x[at(a.p, plane, j, in)]; });
      static_cast<T*>(a.dst)[at(a.p, plane, i, outs)] = sum / divisor<T>(a, h, w);
    });
  });
}

void avg_pool2d_backward(Stream&, const AvgPool2dArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t in = a.p.H * a.p.W, outs = a.p.P * a.p.Q;
    auto* all = static_cast<T*>(a.dst);
    for (std::int64_t i = 0; i < a.p.N * a.p.C * in; ++i) all[i] = 0;
    for_each_window(a.p, [&](std::int64_t plane, std::int64_t i, const Span& h, const Span& w) {
      const T share = static_cast<const T*>(a.src)[at(a.p, plane, i, outs)] / divisor<T>(a, h, w);
      for_each_element(a.p, h, w, [&](std::int64_t j) { all[at(a.p, plane, j, in)] += share; });
    });
  });
}

void lp_pool2d_forward(Stream&, const LpPool2dArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t in = a.p.H * a.p.W, outs = a.p.P * a.p.Q;
    const T norm = static_cast<T>(a.norm);
    for_each_window(a.p, [&](std::int64_t plane, std::int64_t i, const Span& h, const Span& w) {
      const T* x = static_cast<const T*>(a.x);
      T sum = 0;
      for_each_element(a.p, h, w,
                       [&](std::int64_t j) { sum += std::pow(std::abs(x[at(a.p, plane, j, in)]), norm); });
      static_cast<T*>(a.out)[at(a.p, plane, i, outs)] = std::pow(sum, 1 / norm);
    });
  });
}

void lp_pool2d_backward(Stream&, const LpPool2dBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t in = a.p.H * a.p.W, outs = a.p.P * a.p.Q;
    const T power = static_cast<T>(a.norm) - 1;
    auto* all = static_cast<T*>(a.dx);
    for (std::int64_t i = 0; i < a.p.N * a.p.C * in; ++i) all[i] = 0;
    for_each_window(a.p, [&](std::int64_t plane, std::int64_t i, const Span& h, const Span& w) {
      const T* x = static_cast<const T*>(a.x);
      const std::int64_t from = at(a.p, plane, i, outs);
      const T dout = static_cast<const T*>(a.dout)[from], out = static_cast<const T*>(a.out)[from];
      if (out == 0) return;
      for_each_element(a.p, h, w, [&](std::int64_t j) {
        // The quotient first: neither power overflows where the gradient does not.
        const std::int64_t to = at(a.p, plane, j, in);
        const T value = x[to];
        if (value != 0) all[to] += dout * std::copysign(std::pow(std::abs(value) / out, power), value);
      });
    });
  });
}

}  // namespace weft::reference
