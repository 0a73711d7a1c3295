// Pooling, spread over threads by plane; see ops/pool2d.h. Windows of 2x2 with stride 2 are read in pieces of
// 16, 8 or 4 outputs, the last piece overlapping the one before; windows of 3x3 have a file of their own;
// other windows go tap by tap over whole rows.
//
// Where x comes from memory, 2x2 windows ask for it 16 KiB ahead: the processor's own prefetching stops at
// every page and follows two rows at once badly.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "cpu/plane_bands.h"
#include "cpu/pool2d_3x3.h"
#include "cpu/pool2d_channels_last.h"
#include "cpu/rows.h"
#include "cpu/simd/stream.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

bool is_2x2(const Pool2dParams& p) {
  return !p.adaptive && p.R == 2 && p.S == 2 && p.stride_h == 2 && p.stride_w == 2 && p.pad_h == 0 &&
         p.pad_w == 0 && p.dilation_h == 1 && p.dilation_w == 1 && 2 * p.P <= p.H && 2 * p.Q <= p.W;
}

// Asks for the two rows of x that lie a stretch behind these, if the array does not fit into a second-level
// cache.
class Ahead {
 public:
  Ahead(std::int64_t elements) : worth_(elements >= std::int64_t{1} << 20) {}
  [[gnu::always_inline]] void operator()(const float* row, std::int64_t W) const {
    if (worth_) prefetch<0>(row + 4096, 2 * W);
  }

 private:
  bool worth_;
};

// Whether v takes the place of m. Bitwise operators: no branch in a vectorized loop.
template <bool minimum, class T>
[[gnu::always_inline]] inline bool beats(T v, T m) {
  return (minimum ? v < m : v > m) | (v != v);
}

template <bool minimum>
struct MaxRow2x2 {
  const float *r0, *r1;
  float* out;
  std::int32_t* index;
  std::int32_t base, W;  // base: index of r0[0]
  template <int V>
  [[gnu::always_inline]] void operator()(std::int64_t q) const {
    const float* __restrict x0 = r0 + 2 * q, * __restrict x1 = r1 + 2 * q;
    float* __restrict y = out + q;
    std::int32_t* __restrict at = index + q;
    const std::int32_t start = base + 2 * static_cast<std::int32_t>(q);
#pragma GCC unroll 1  // a loop that is unrolled first is not vectorized
    for (int k = 0; k < V; ++k) {
      const float b = x0[2 * k + 1], c = x1[2 * k], d = x1[2 * k + 1];
      const std::int32_t i = start + 2 * k;
      float m = x0[2 * k];
      std::int32_t best = i;
      best = beats<minimum>(b, m) ? i + 1 : best;
      m = beats<minimum>(b, m) ? b : m;
      best = beats<minimum>(c, m) ? i + W : best;
      m = beats<minimum>(c, m) ? c : m;
      best = beats<minimum>(d, m) ? i + W + 1 : best;
      m = beats<minimum>(d, m) ? d : m;
      y[k] = m;
      at[k] = best;
    }
  }
};

// Where a plane of results is made: at its place, or in a buffer that leaves it past the cache
// (simd/stream.h).
template <class T>
class PlaneOut {
 public:
  [[gnu::always_inline]] PlaneOut(T* place, std::int64_t n, bool streams)
      : place_(place), n_(n), streams_(streams && n <= most && n % 16 == 0 && is_line(place)) {}
  [[gnu::always_inline]] ~PlaneOut() {
    if (!streams_) return;
    stream_out(reinterpret_cast<float*>(place_), reinterpret_cast<const float*>(buffer_), n_);
    stream_end();
  }
  PlaneOut(const PlaneOut&) = delete;
  PlaneOut& operator=(const PlaneOut&) = delete;
  [[gnu::always_inline]] T* data() { return streams_ ? buffer_ : place_; }

 private:
  static constexpr std::int64_t most = 4096;
  T* place_;
  std::int64_t n_;
  bool streams_;
  alignas(64) T buffer_[most];
};

template <bool minimum>
void max_2x2(const MaxPool2dArgs& a) {
  const Pool2dParams& p = a.p;
  const std::int64_t in = p.H * p.W, outs = p.P * p.Q, planes = p.N * p.C;
  const bool streams = passes_cache(planes * (4 * in + 8 * outs));
  const Ahead ahead(planes * in);
  parallel_tasks(planes, planes * in, [&](std::int64_t plane) {
    const float* x = static_cast<const float*>(a.x) + plane * in;
    PlaneOut<float> out(static_cast<float*>(a.out) + plane * outs, outs, streams);
    PlaneOut<std::int32_t> index(a.index + plane * outs, outs, streams);
    for (std::int64_t i = 0; i < p.P; ++i) {
      const MaxRow2x2<minimum> row{x + 2 * i * p.W,
                                   x + (2 * i + 1) * p.W,
                                   out.data() + i * p.Q,
                                   index.data() + i * p.Q,
                                   static_cast<std::int32_t>(2 * i * p.W),
                                   static_cast<std::int32_t>(p.W)};
      ahead(x + 2 * i * p.W, p.W);
      cover<16>(p.Q, row);
    }
  });
}

// The taps t of a window for which some t dilation + shift lies in [low, high): of a window that is mostly
// padding few.
struct TapsInside {
  [[gnu::always_inline]] TapsInside(std::int64_t taps, std::int64_t dilation, std::int64_t shift,
                                    std::int64_t low, std::int64_t high)
      : begin(shift >= low ? 0 : ceil_div(low - shift, dilation)),
        end(high <= shift ? 0 : min_of(taps, ceil_div(high - shift, dilation))) {}
  std::int64_t begin, end;
};

// At most so many elements of the image lie in a window.
[[gnu::always_inline]] inline std::int64_t window_elements(const Pool2dParams& p) {
  return min_of(p.R, p.H) * min_of(p.S, p.W);
}

// Any fixed window: each tap is one pass over the part of the output row for which it lies in the image.
template <bool minimum, class T>
void max_row(const Pool2dParams& p, std::int64_t i, const T* x, T* __restrict out,
             std::int32_t* __restrict index) {
  for (std::int64_t q = 0; q < p.Q; ++q) {
    out[q] = minimum ? static_cast<T>(__builtin_inf()) : -static_cast<T>(__builtin_inf());
    index[q] = -1;
  }
  const std::int64_t top = i * p.stride_h - p.pad_h;
  const TapsInside rows(p.R, p.dilation_h, top, 0, p.H),
      columns(p.S, p.dilation_w, -p.pad_w, (1 - p.Q) * p.stride_w, p.W);
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    const std::int64_t h = top + r * p.dilation_h;
    for (std::int64_t s = columns.begin; s < columns.end; ++s) {
      const std::int64_t shift = s * p.dilation_w - p.pad_w;  // w = q stride + shift
      const std::int64_t begin = shift >= 0 ? 0 : ceil_div(-shift, p.stride_w);
      const std::int64_t end = min_of(p.Q, (p.W - 1 - shift) / p.stride_w + 1);
      const T* __restrict row = x + h * p.W + shift;
      // Modulo 2^32: a sum of two that is an index may have parts that are none.
      const auto at = static_cast<std::uint32_t>(h * p.W + shift),
                 step = static_cast<std::uint32_t>(p.stride_w);
      for (std::int64_t q = begin; q < end; ++q) {
        const T v = row[q * step], m = out[q];
        const bool better = beats<minimum>(v, m) | (index[q] < 0);
        out[q] = better ? v : m;
        index[q] = better ? static_cast<std::int32_t>(at + static_cast<std::uint32_t>(q) * step) : index[q];
      }
    }
  }
}

template <bool minimum, class T>
void max_windows(const MaxPool2dArgs& a) {
  const Pool2dParams& p = a.p;
  const std::int64_t in = p.H * p.W, outs = p.P * p.Q, planes = p.N * p.C;
  parallel_tasks(planes, planes * outs * window_elements(p), [&](std::int64_t plane) {
    for (std::int64_t i = 0; i < p.P; ++i)
      max_row<minimum>(p, i, static_cast<const T*>(a.x) + plane * in,
                       static_cast<T*>(a.out) + plane * outs + i * p.Q, a.index + plane * outs + i * p.Q);
  });
}

// The gradient of a 2x2 window into two rows; `stray` where an index is not of its own window.
struct MaxBackwardRow2x2 {
  float *r0, *r1;
  const float* dout;
  const std::int32_t* index;
  std::int32_t base, W;
  std::int32_t* stray;
  template <int V>
  [[gnu::always_inline]] void operator()(std::int64_t q) const {
    float* __restrict x0 = r0 + 2 * q, * __restrict x1 = r1 + 2 * q;
    const float* __restrict d = dout + q;
    const std::int32_t* __restrict at = index + q;
    const std::int32_t start = base + 2 * static_cast<std::int32_t>(q);
    std::int32_t wrong = 0;
#pragma GCC unroll 1  // a loop that is unrolled first is not vectorized
    for (int k = 0; k < V; ++k) {
      const auto i = static_cast<std::int32_t>(static_cast<std::uint32_t>(at[k]) -
                                               static_cast<std::uint32_t>(start + 2 * k));
      x0[2 * k] = i == 0 ? d[k] : 0;
      x0[2 * k + 1] = i == 1 ? d[k] : 0;
      x1[2 * k] = i == W ? d[k] : 0;
      x1[2 * k + 1] = i == W + 1 ? d[k] : 0;
      wrong |= (i != 0) & (i != 1) & (i != W) & (i != W + 1);
    }
    *stray |= wrong;
  }
};

// False where the plane has an index outside of its 2x2 window.
bool max_backward_plane_2x2(const Pool2dParams& p, float* dx, const float* dout, const std::int32_t* index) {
  for (std::int64_t i = 0; i < p.P; ++i) {
    std::int32_t stray = 0;
    float *r0 = dx + 2 * i * p.W, *r1 = r0 + p.W;
    const MaxBackwardRow2x2 row{r0,
                                r1,
                                dout + i * p.Q,
                                index + i * p.Q,
                                static_cast<std::int32_t>(2 * i * p.W),
                                static_cast<std::int32_t>(p.W),
                                &stray};
    cover<16>(p.Q, row);
    if (stray) return false;
    for (std::int64_t w = 2 * p.Q; w < p.W; ++w) r0[w] = r1[w] = 0;
  }
  for (std::int64_t j = 2 * p.P * p.W; j < p.H * p.W; ++j) dx[j] = 0;
  return true;
}

template <class T>
void max_backward_plane(const Pool2dParams& p, T* dx, const T* dout, const std::int32_t* index) {
  const std::int64_t in = p.H * p.W;
  for (std::int64_t j = 0; j < in; ++j) dx[j] = 0;
  for (std::int64_t j = 0; j < p.P * p.Q; ++j)
    if (index[j] >= 0 && index[j] < in) dx[index[j]] += dout[j];
}

struct AvgRow2x2 {
  const float *r0, *r1;
  float* out;
  float divisor;
  template <int V>
  [[gnu::always_inline]] void operator()(std::int64_t q) const {
    const float *x0 = r0 + 2 * q, *x1 = r1 + 2 * q;
    if constexpr (V == 1) {
      out[q] = (((x0[0] + x0[1]) + x1[0]) + x1[1]) / divisor;
    } else {
      using L = Lanes<V>;
      const auto a = load<V>(x0), b = load<V>(x0 + V), c = load<V>(x1), d = load<V>(x1 + V);
      const typename L::Vec top = __builtin_shuffle(a, b, L::even) + __builtin_shuffle(a, b, L::odd);
      store<V>(out + q, (top + __builtin_shuffle(c, d, L::even) + __builtin_shuffle(c, d, L::odd)) / divisor);
    }
  }
};
struct AvgBackwardRow2x2 {
  float *r0, *r1;
  const float* dout;
  float divisor;
  template <int V>
  [[gnu::always_inline]] void operator()(std::int64_t q) const {
    float *x0 = r0 + 2 * q, *x1 = r1 + 2 * q;
    if constexpr (V == 1) {
      x0[0] = x0[1] = x1[0] = x1[1] = dout[q] / divisor;
    } else {
      using L = Lanes<V>;
      const typename L::Vec share = load<V>(dout + q) / divisor;
      const typename L::Vec low = __builtin_shuffle(share, share, L::low),
                            high = __builtin_shuffle(share, share, L::high);
      store<V>(x0, low), store<V>(x0 + V, high);
      store<V>(x1, low), store<V>(x1 + V, high);
    }
  }
};

bool avg_2x2(const AvgPool2dArgs& a, bool backward) {
  const Pool2dParams& p = a.p;
  if (a.dtype != DType::float32 || !is_2x2(p)) return false;
  const std::int64_t in = p.H * p.W, outs = p.P * p.Q, planes = p.N * p.C;
  const float divisor = a.divisor_override ? static_cast<float>(a.divisor_override) : 4.0f;
  // Making a whole gradient plane in a buffer first gained nothing over reading the lines that are stored to.
  const bool streams = !backward && passes_cache(planes * 4 * (in + outs));
  const Ahead ahead(planes * in);
  parallel_tasks(planes, planes * in, [&](std::int64_t plane) {
    const std::int64_t made = backward ? in : outs;
    const float* src = static_cast<const float*>(a.src) + plane * (backward ? outs : in);
    PlaneOut<float> out(static_cast<float*>(a.dst) + plane * made, made, streams);
    float* dst = out.data();
    for (std::int64_t i = 0; i < p.P; ++i) {
      const std::int64_t top = 2 * i * p.W;
      if (!backward) {
        ahead(src + top, p.W);
        cover<widest>(p.Q, AvgRow2x2{src + top, src + top + p.W, dst + i * p.Q, divisor});
        continue;
      }
      cover<widest>(p.Q, AvgBackwardRow2x2{dst + top, dst + top + p.W, src + i * p.Q, divisor});
      for (std::int64_t w = 2 * p.Q; w < p.W; ++w) dst[top + w] = dst[top + p.W + w] = 0;
    }
    if (backward)
      for (std::int64_t j = 2 * p.P * p.W; j < in; ++j) dst[j] = 0;
  });
  return true;
}

// One window, the whole plane: its mean, or an equal share for each element.
bool avg_plane(const AvgPool2dArgs& a, bool backward) {
  const Pool2dParams& p = a.p;
  if (a.dtype != DType::float32 || !p.adaptive || p.P != 1 || p.Q != 1) return false;
  const std::int64_t in = p.H * p.W, planes = p.N * p.C;
  const float divisor = static_cast<float>(in);
  const auto* src = static_cast<const float*>(a.src);
  auto* dst = static_cast<float*>(a.dst);
  parallel_ranges(planes, rows_per_task(in), planes * in, [=](std::int64_t begin, std::int64_t end) {
    if (!backward)
      for (std::int64_t i = begin; i < end; ++i) dst[i] = row_sum(src + i * in, in) / divisor;
    else
      for (std::int64_t i = begin; i < end; ++i) {
        const float share = src[i] / divisor;
        for (std::int64_t j = 0; j < in; ++j) dst[i * in + j] = share;
      }
  });
  return true;
}

template <class T>
[[gnu::always_inline]] inline T* plane_of(T* data, DType dtype, std::int64_t elements) {
  const std::int64_t size = dtype == DType::float32 ? 4 : 8;
  return reinterpret_cast<T*>(reinterpret_cast<std::intptr_t>(data) + elements * size);
}

// The naive kernel, one plane at a time: f(args of one plane, its number).
template <class Args, class F>
void by_plane(const Args& a, F&& f) {
  const std::int64_t planes = a.p.N * a.p.C,
                     size = max_of(a.p.H * a.p.W, a.p.P * a.p.Q * (window_elements(a.p) + 1));
  parallel_tasks(planes, planes * size, [&](std::int64_t plane) {
    Args one = a;
    one.p.N = one.p.C = 1;
    f(one, plane * a.p.H * a.p.W, plane * a.p.P * a.p.Q);
  });
}

}  // namespace

void max_pool2d_forward(Stream& stream, const MaxPool2dArgs& a) {
  if (a.p.channels_last) return max_pool2d_channels_last_forward(a);
  if (a.index && !a.p.adaptive) {
    if (a.dtype == DType::float64)
      return a.minimum ? max_windows<true, double>(a) : max_windows<false, double>(a);
    if (max_pool2d_3x3_forward(a)) return;
    if (is_2x2(a.p)) return a.minimum ? max_2x2<true>(a) : max_2x2<false>(a);
    return a.minimum ? max_windows<true, float>(a) : max_windows<false, float>(a);
  }
  by_plane(a, [&](MaxPool2dArgs& one, std::int64_t in, std::int64_t out) {
    one.x = plane_of(a.x, a.dtype, in);
    one.out = plane_of(a.out, a.dtype, out);
    if (a.index) one.index = a.index + out;
    reference::max_pool2d_forward(stream, one);
  });
}

void max_pool2d_backward(Stream&, const MaxPool2dBackwardArgs& a) {
  if (a.p.channels_last) return max_pool2d_channels_last_backward(a);
  const Pool2dParams& p = a.p;
  const std::int64_t in = p.H * p.W, outs = p.P * p.Q, planes = p.N * p.C;
  const bool halves = p.H / 2 == p.P && p.W / 2 == p.Q && p.Q > 0 && p.P > 0;
  parallel_tasks(planes, planes * max_of(in, outs), [&](std::int64_t plane) {
    const std::int32_t* index = a.index + plane * outs;
    if (a.dtype == DType::float64)
      return max_backward_plane(p, static_cast<double*>(a.dx) + plane * in,
                                static_cast<const double*>(a.dout) + plane * outs, index);
    float* dx = static_cast<float*>(a.dx) + plane * in;
    const float* dout = static_cast<const float*>(a.dout) + plane * outs;
    if (!halves || !max_backward_plane_2x2(p, dx, dout, index)) max_backward_plane(p, dx, dout, index);
  });
}

void avg_pool2d_forward(Stream& stream, const AvgPool2dArgs& a) {
  if (a.p.channels_last) return avg_pool2d_channels_last_forward(a);
  if (avg_plane(a, false) || avg_2x2(a, false) || avg_pool2d_3x3(a, false)) return;
  by_plane(a, [&](AvgPool2dArgs& one, std::int64_t in, std::int64_t out) {
    one.src = plane_of(a.src, a.dtype, in);
    one.dst = plane_of(a.dst, a.dtype, out);
    reference::avg_pool2d_forward(stream, one);
  });
}

void avg_pool2d_backward(Stream& stream, const AvgPool2dArgs& a) {
  if (a.p.channels_last) return avg_pool2d_channels_last_backward(a);
  if (avg_plane(a, true) || avg_2x2(a, true) || avg_pool2d_3x3(a, true)) return;
  by_plane(a, [&](AvgPool2dArgs& one, std::int64_t in, std::int64_t out) {
    one.src = plane_of(a.src, a.dtype, out);
    one.dst = plane_of(a.dst, a.dtype, in);
    reference::avg_pool2d_backward(stream, one);
  });
}

void lp_pool2d_forward(Stream& stream, const LpPool2dArgs& a) {
  if (a.p.channels_last) return lp_pool2d_channels_last_forward(stream, a);
  by_plane(a, [&](LpPool2dArgs& one, std::int64_t in, std::int64_t out) {
    one.x = plane_of(a.x, a.dtype, in);
    one.out = plane_of(a.out, a.dtype, out);
    reference::lp_pool2d_forward(stream, one);
  });
}

void lp_pool2d_backward(Stream& stream, const LpPool2dBackwardArgs& a) {
  if (a.p.channels_last) return lp_pool2d_channels_last_backward(stream, a);
  by_plane(a, [&](LpPool2dBackwardArgs& one, std::int64_t in, std::int64_t out) {
    one.x = plane_of(a.x, a.dtype, in);
    one.dx = plane_of(a.dx, a.dtype, in);
    one.dout = plane_of(a.dout, a.dtype, out);
    one.out = plane_of(a.out, a.dtype, out);
    reference::lp_pool2d_backward(stream, one);
  });
}

}  // namespace weft::cpu::WEFT_ISA
