// Pooling of images that lie channels last: element (n, i, j, c) at ((n H + i) W + j) C + c. Lanes are
// channels, so that every window, fixed or adaptive, is the same plain loop over its pixels. Forward: one
// output pixel after the other, a group of channels in registers. Backward: one image and block of channels
// is a task, so that two windows that share a pixel belong to one thread. Lp: the naive kernel, an image a
// task.
#include "cpu/pool2d_channels_last.h"

#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr int lanes = 16;
constexpr std::int64_t block = 64;  // channels of a task of backward

// The rows, or columns, of a window inside of the image: begin, begin + step, ... below end; `padded`: how
// many it has inside of the padded image.
struct Span {
  std::int64_t begin, end, step, padded;
  [[gnu::always_inline]] std::int64_t count() const { return end - begin; }
};

Span fixed_span(std::int64_t i, std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                std::int64_t dilation) {
  const std::int64_t start = i * stride - pad, stop = start + dilation * (kernel - 1) + 1;
  const std::int64_t begin = start >= 0 ? start : start + ceil_div(-start, dilation) * dilation;
  return {begin, min_of(stop, in), dilation, min_of(stop, in + pad) - start};
}
Span adaptive_span(std::int64_t i, std::int64_t in, std::int64_t out) {
  const std::int64_t begin = i * in / out, end = ceil_div((i + 1) * in, out);
  return {begin, end, 1, end - begin};
}
Span rows_of(const Pool2dParams& p, std::int64_t i) {
  return p.adaptive ? adaptive_span(i, p.H, p.P) : fixed_span(i, p.H, p.R, p.stride_h, p.pad_h, p.dilation_h);
}
Span columns_of(const Pool2dParams& p, std::int64_t j) {
  return p.adaptive ? adaptive_span(j, p.W, p.Q) : fixed_span(j, p.W, p.S, p.stride_w, p.pad_w, p.dilation_w);
}

// f(number of the pixel in its image) for each pixel of a window, in row-major order.
template <class F>
[[gnu::always_inline]] inline void for_window(const Pool2dParams& p, const Span& h, const Span& w, F&& f) {
  for (std::int64_t y = h.begin; y < h.end; y += h.step)
    for (std::int64_t x = w.begin; x < w.end; x += w.step) f(y * p.W + x);
}

template <int n>
struct Count {
  static constexpr int count = n;
};

// f(first channel, Count)  over groups of channels.
template <class F>
[[gnu::always_inline]] inline void for_channels(std::int64_t begin, std::int64_t end, F&& f) {
  std::int64_t c = begin;
  for (; c + lanes <= end; c += lanes) f(c, Count<lanes>());
  for (; c < end; ++c) f(c, Count<1>());
}

// f(n, i, j, h, w): each output pixel with its window. A task is a row of output pixels.
template <class F>
void for_outputs(const Pool2dParams& p, F&& f) {
  const std::int64_t window =
      p.adaptive ? p.H * p.W / max_of<std::int64_t>(1, p.P * p.Q) : min_of(p.R, p.H) * min_of(p.S, p.W);
  parallel_tasks(p.N * p.P, p.N * p.P * p.Q * p.C * max_of<std::int64_t>(1, window), [&](std::int64_t task) {
    const Span h = rows_of(p, task % p.P);
    for (std::int64_t j = 0; j < p.Q; ++j) f(task / p.P, task % p.P, j, h, columns_of(p, j));
  });
}

// The first element is taken whatever it is, then what is larger, or NaN.
template <class T, int count, bool minimum>
[[gnu::always_inline]] inline void max_group(const MaxPool2dArgs& a, const T* x, T* out, std::int32_t* index,
                                             const Span& h, const Span& w) {
  T best[count];
  std::int32_t at[count];
  for (int l = 0; l < count; ++l) {
    best[l] = minimum ? static_cast<T>(__builtin_inf()) : -static_cast<T>(__builtin_inf());
    at[l] = -1;
  }
  for_window(a.p, h, w, [&](std::int64_t j) {
    const T* from = x + j * a.p.C;
    const auto here = static_cast<std::int32_t>(j);
#pragma omp simd
    for (int l = 0; l < count; ++l) {
      const T v = from[l];
      const bool take = (at[l] < 0) | (minimum ? v < best[l] : v > best[l]) | (v != v);
      best[l] = take ? v : best[l];
      at[l] = take ? here : at[l];
    }
  });
  for (int l = 0; l < count; ++l) out[l] = best[l];
  if (index)
    for (int l = 0; l < count; ++l) index[l] = at[l];
}

template <class T, bool minimum>
void max_forward(const MaxPool2dArgs& a) {
  const Pool2dParams& p = a.p;
  for_outputs(p, [&](std::int64_t n, std::int64_t i, std::int64_t j, const Span& h, const Span& w) {
    const T* x = static_cast<const T*>(a.x) + n * p.H * p.W * p.C;
    const std::int64_t to = ((n * p.P + i) * p.Q + j) * p.C;
    for_channels(0, p.C, [&](std::int64_t c, auto group) {
      max_group<T, decltype(group)::count, minimum>(a, x + c, static_cast<T*>(a.out) + to + c,
                                                    a.index ? a.index + to + c : nullptr, h, w);
    });
  });
}

// f(n, begin, end) for each image and block of channels.
template <class F>
void for_blocks(const Pool2dParams& p, F&& f) {
  const std::int64_t blocks = ceil_div(p.C, block);
  parallel_tasks(p.N * blocks, p.N * p.C * max_of(p.H * p.W, p.P * p.Q), [&](std::int64_t task) {
    const std::int64_t begin = task % blocks * block;
    f(task / blocks, begin, min_of(p.C, begin + block));
  });
}

template <class T>
void clear(const Pool2dParams& p, T* dx, std::int64_t begin, std::int64_t end) {
  for (std::int64_t j = 0; j < p.H * p.W; ++j)
    for (std::int64_t c = begin; c < end; ++c) dx[j * p.C + c] = 0;
}

template <class T>
void max_backward(const MaxPool2dBackwardArgs& a) {
  const Pool2dParams& p = a.p;
  const std::int64_t in = p.H * p.W, outs = p.P * p.Q;
  for_blocks(p, [&](std::int64_t n, std::int64_t begin, std::int64_t end) {
    T* dx = static_cast<T*>(a.dx) + n * in * p.C;
    const T* dout = static_cast<const T*>(a.dout) + n * outs * p.C;
    const std::int32_t* index = a.index + n * outs * p.C;
    clear(p, dx, begin, end);
    for (std::int64_t i = 0; i < outs; ++i)
      for (std::int64_t c = begin; c < end; ++c) {
        const std::int64_t j = index[i * p.C + c];
        if (j >= 0 && j < in) dx[j * p.C + c] += dout[i * p.C + c];
      }
  });
}

template <class T>
[[gnu::always_inline]] inline T divisor(const AvgPool2dArgs& a, const Span& h, const Span& w) {
  if (a.divisor_override) return static_cast<T>(a.divisor_override);
  if (!a.count_include_pad) return static_cast<T>(h.count() * w.count());
  return static_cast<T>(static_cast<double>(h.padded) * static_cast<double>(w.padded));  // beyond 64 bits too
}

template <class T>
void avg_forward(const AvgPool2dArgs& a) {
  const Pool2dParams& p = a.p;
  for_outputs(p, [&](std::int64_t n, std::int64_t i, std::int64_t j, const Span& h, const Span& w) {
    const T* x = static_cast<const T*>(a.src) + n * p.H * p.W * p.C;
    T* out = static_cast<T*>(a.dst) + ((n * p.P + i) * p.Q + j) * p.C;
    const T by = divisor<T>(a, h, w);
    for_channels(0, p.C, [&](std::int64_t c, auto group) {
      constexpr int count = decltype(group)::count;
      T sum[count] = {};
      for_window(p, h, w, [&](std::int64_t pixel) {
        const T* from = x + pixel * p.C + c;
#pragma omp simd
        for (int l = 0; l < count; ++l) sum[l] += from[l];
      });
      for (int l = 0; l < count; ++l) out[c + l] = sum[l] / by;
    });
  });
}

template <class T>
void avg_backward(const AvgPool2dArgs& a) {
  const Pool2dParams& p = a.p;
  for_blocks(p, [&](std::int64_t n, std::int64_t begin, std::int64_t end) {
    T* dx = static_cast<T*>(a.dst) + n * p.H * p.W * p.C;
    clear(p, dx, begin, end);
    for (std::int64_t i = 0; i < p.P * p.Q; ++i) {
      const Span h = rows_of(p, i / p.Q), w = columns_of(p, i % p.Q);
      const T* dout = static_cast<const T*>(a.src) + (n * p.P * p.Q + i) * p.C;
      const T by = divisor<T>(a, h, w);
      T share[block];
      for (std::int64_t c = begin; c < end; ++c) share[c - begin] = dout[c] / by;
      for_window(p, h, w, [&](std::int64_t pixel) {
        T* to = dx + pixel * p.C;
        for (std::int64_t c = begin; c < end; ++c) to[c] += share[c - begin];
      });
    }
  });
}

// The naive kernel, one image at a time: f(args of one image, elements before it in x, in out).
template <class Args, class F>
void by_image(const Args& a, F&& f) {
  const std::int64_t in = a.p.C * a.p.H * a.p.W, outs = a.p.C * a.p.P * a.p.Q;
  const std::int64_t size = a.dtype == DType::float32 ? 4 : 8;
  parallel_tasks(a.p.N, a.p.N * max_of(in, outs * 8), [&](std::int64_t n) {
    Args one = a;
    one.p.N = 1;
    f(one, n * in * size, n * outs * size);
  });
}

template <class T>
[[gnu::always_inline]] inline T* moved(T* data, std::int64_t bytes) {
  return reinterpret_cast<T*>(reinterpret_cast<std::intptr_t>(data) + bytes);
}

}  // namespace

void max_pool2d_channels_last_forward(const MaxPool2dArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    a.minimum ? max_forward<T, true>(a) : max_forward<T, false>(a);
  });
}

void max_pool2d_channels_last_backward(const MaxPool2dBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) { max_backward<typename decltype(type)::type>(a); });
}

void avg_pool2d_channels_last_forward(const AvgPool2dArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) { avg_forward<typename decltype(type)::type>(a); });
}

void avg_pool2d_channels_last_backward(const AvgPool2dArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) { avg_backward<typename decltype(type)::type>(a); });
}

void lp_pool2d_channels_last_forward(Stream& stream, const LpPool2dArgs& a) {
  by_image(a, [&](LpPool2dArgs& one, std::int64_t in, std::int64_t out) {
    one.x = moved(a.x, in);
    one.out = moved(a.out, out);
    reference::lp_pool2d_forward(stream, one);
  });
}

void lp_pool2d_channels_last_backward(Stream& stream, const LpPool2dBackwardArgs& a) {
  by_image(a, [&](LpPool2dBackwardArgs& one, std::int64_t in, std::int64_t out) {
    one.x = moved(a.x, in);
    one.dx = moved(a.dx, in);
    one.dout = moved(a.dout, out);
    one.out = moved(a.out, out);
    reference::lp_pool2d_backward(stream, one);
  });
}

}  // namespace weft::cpu::WEFT_ISA
