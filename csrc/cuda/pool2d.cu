// Pooling; the definitions are in ops/pool2d.h. The windows that networks have most go their own way
// (pool2d_fast.cu); all others: forward, a thread looks at the window of its output element. Backward, a
// thread gathers for its input element from the windows that hold it, in the order of the naive kernel
// (row-major): no atomics, and each element of dx is written once. With the channels last both take 16 bytes
// of neighbouring channels, so all accesses are whole; row by row neighbouring threads take neighbouring
// columns and the overlap of windows comes out of the L1 cache.
//
// All are bound by memory: an element of x, of out, of the index and of their gradients is moved once.
#include "cuda/pool2d_fast.h"
#include "cuda/pool2d_windows.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

__device__ __forceinline__ float power(float x, float y) { return powf(x, y); }
__device__ __forceinline__ double power(double x, double y) { return pow(x, y); }

// --- forward: what is kept of a window while it is read, for each of V channels ---

template <class T, int V, class I>
struct Extreme {
  std::int32_t* index;  // may be null
  bool minimum;

  struct State {
    T best;
    std::int32_t chosen;
  };
  __device__ State start() const { return {minimum ? T(INFINITY) : -T(INFINITY), -1}; }
  __device__ void add(State& s, T value, I j) const {
    if (s.chosen < 0 || (minimum ? value < s.best : value > s.best) || isnan(value))
      s = {value, static_cast<std::int32_t>(j)};
  }
  __device__ void end_row(State&) const {}
  __device__ Pack<T, V> finish(const State (&s)[V], const Span<I>&, const Span<I>&, I to) const {
    Pack<T, V> out;
    Pack<std::int32_t, V> chosen;
#pragma unroll
    for (int v = 0; v < V; ++v) out.v[v] = s[v].best, chosen.v[v] = s[v].chosen;
    if (index) store_pack(index + to, chosen);
    return out;
  }
};

template <class T, class I>
__device__ __forceinline__ T divisor(bool include, T override_, const Span<I>& h, const Span<I>& w) {
  if (override_ > 0) return override_;
  return include ? static_cast<T>(h.padded) * static_cast<T>(w.padded)
                 : static_cast<T>(h.end - h.begin) * static_cast<T>(w.end - w.begin);
}

template <class T, int V, class I>
struct Average {
  bool count_include_pad;
  T divisor_override;

  // Row by row: large windows lose fewer digits.
  struct State {
    T sum, row;
  };
  __device__ State start() const { return {0, 0}; }
  __device__ void add(State& s, T value, I) const { s.row += value; }
  __device__ void end_row(State& s) const { s = {s.sum + s.row, 0}; }
  __device__ Pack<T, V> finish(const State (&s)[V], const Span<I>& h, const Span<I>& w, I) const {
    const T by = divisor(count_include_pad, divisor_override, h, w);
    Pack<T, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v) out.v[v] = s[v].sum / by;
    return out;
  }
};

template <class T, int V, class I>
struct Norm {
  T norm;

  struct State {
    T sum, row;
  };
  __device__ State start() const { return {0, 0}; }
  __device__ void add(State& s, T value, I) const { s.row += power(fabs(value), norm); }
  __device__ void end_row(State& s) const { s = {s.sum + s.row, 0}; }
  __device__ Pack<T, V> finish(const State (&s)[V], const Span<I>&, const Span<I>&, I) const {
    Pack<T, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v) out.v[v] = power(s[v].sum, 1 / norm);
    return out;
  }
};

template <class T, int V, class I, class Op>
__global__ void __launch_bounds__(block) forward_kernel(Windows<I> g, Op op, T* out, const T* x, I count) {
  for (I i = blockIdx.x * block + threadIdx.x; i < count; i += static_cast<I>(gridDim.x) * block) {
    const PoolPlace<I> at = pool_place<V>(g, i, g.P, g.Q);
    const Span<I> h = g.rows(at.row), w = g.columns(at.col);
    const I step = g.channels_last ? g.C : 1;
    typename Op::State state[V];
#pragma unroll
    for (int v = 0; v < V; ++v) state[v] = op.start();
    for (I row = h.begin; row < h.end; row += h.step) {
      const T* from = x + pool_offset(g, at, g.H * g.W, row * g.W);
      for (I col = w.begin; col < w.end; col += w.step) {
        const Pack<T, V> value = load_pack<T, V>(from + col * step);
#pragma unroll
        for (int v = 0; v < V; ++v) op.add(state[v], value.v[v], row * g.W + col);
      }
#pragma unroll
      for (int v = 0; v < V; ++v) op.end_row(state[v]);
    }
    store_pack(out + i * V, op.finish(state, h, w, i * V));
  }
}

// --- backward: what a window gives the element j of its plane ---

template <class T, int V, class I>
struct ExtremeGradient {
  const T* dout;
  const std::int32_t* index;

  __device__ void start(I) {}
  __device__ void add(Pack<T, V>& sum, I window, I j, const Windows<I>&, I, I) const {
    const Pack<std::int32_t, V> chosen = load_pack<std::int32_t, V>(index + window);
    const Pack<T, V> d = load_pack<T, V>(dout + window);
#pragma unroll
    for (int v = 0; v < V; ++v)
      if (chosen.v[v] == j) sum.v[v] += d.v[v];
  }
};

template <class T, int V, class I>
struct AverageGradient {
  const T* dout;
  bool count_include_pad;
  T divisor_override;

  __device__ void start(I) {}
  __device__ void add(Pack<T, V>& sum, I window, I, const Windows<I>& g, I p, I q) const {
    const T by = divisor(count_include_pad, divisor_override, g.rows(p), g.columns(q));
    const Pack<T, V> d = load_pack<T, V>(dout + window);
#pragma unroll
    for (int v = 0; v < V; ++v) sum.v[v] += d.v[v] / by;
  }
};

template <class T, int V, class I>
struct NormGradient {
  const T* dout;
  const T* x;
  const T* out;
  T exponent;  // norm - 1
  Pack<T, V> value;

  __device__ void start(I element) { value = load_pack<T, V>(x + element); }
  __device__ void add(Pack<T, V>& sum, I window, I, const Windows<I>&, I, I) const {
    const Pack<T, V> d = load_pack<T, V>(dout + window), o = load_pack<T, V>(out + window);
#pragma unroll
    for (int v = 0; v < V; ++v)  // the quotient first: neither power overflows where the gradient does not
      if (o.v[v] != 0 && value.v[v] != 0)
        sum.v[v] += d.v[v] * copysign(power(fabs(value.v[v]) / o.v[v], exponent), value.v[v]);
  }
};

template <class T, int V, class I, class Op>
__global__ void __launch_bounds__(block, 2) backward_kernel(Windows<I> g, Op op, T* dx, I count) {
  for (I i = blockIdx.x * block + threadIdx.x; i < count; i += static_cast<I>(gridDim.x) * block) {
    const PoolPlace<I> at = pool_place<V>(g, i, g.H, g.W);
    const Span<I> p = g.holding_row(at.row), q = g.holding_column(at.col);
    Pack<T, V> sum{};
    op.start(i * V);
    for (I row = p.begin; row < p.end; ++row)
      for (I col = q.begin; col < q.end; ++col)
        op.add(sum, pool_offset(g, at, g.P * g.Q, row * g.Q + col), at.row * g.W + at.col, g, row, col);
    store_pack(dx + i * V, sum);
  }
}

// --- backward of max where nobody says which windows the index is of ---

template <class T>
__global__ void __launch_bounds__(block) zero_kernel(T* dx, std::int64_t count) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * block + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * block)
    dx[i] = 0;
}

// A thread walks over the windows of its plane.
template <class T>
__global__ void __launch_bounds__(block)
    scatter_kernel(T* dx, const T* dout, const std::int32_t* index, std::int64_t planes,
                   std::int64_t channels, std::int32_t in, std::int64_t outs) {
  for (std::int64_t plane = std::int64_t{blockIdx.x} * block + threadIdx.x; plane < planes;
       plane += std::int64_t{gridDim.x} * block) {
    // channels: how far apart neighbours of a plane are
    const std::int64_t image = plane / channels, channel = plane % channels;
    T* to = dx + image * channels * in + channel;
    const std::int64_t first = image * channels * outs + channel;
#pragma unroll 1
    for (std::int64_t i = 0; i < outs; ++i) {
      const std::int32_t j = index[first + i * channels];
      if (j >= 0 && j < in) to[j * channels] += dout[first + i * channels];
    }
  }
}

// --- launches ---

// Whether all offsets and all that the arithmetic of windows passes through fit 32 bits.
bool narrow(const Pool2dParams& p) {
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  const auto extent = [](std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                         std::int64_t dilation) { return in + 2 * pad + dilation * kernel + stride < limit; };
  return p.N * p.C * p.H * p.W < limit && p.N * p.C * p.P * p.Q < limit &&
         (p.adaptive ? p.H * (p.P + 1) + p.P < limit && p.W * (p.Q + 1) + p.Q < limit
                     : extent(p.H, p.R, p.stride_h, p.pad_h, p.dilation_h) &&
                           extent(p.W, p.S, p.stride_w, p.pad_w, p.dilation_w));
}

// f(I{}, Count<V>{}): the type of offsets, and how many channels a thread takes at once.
template <int N>
struct Count {
  static constexpr int value = N;
};
template <class T, class F>
void choose(const Pool2dParams& p, bool packs, F&& f) {
  constexpr int most = per_16_bytes<T>;
  const bool wide = packs && p.channels_last && p.C % most == 0;
  if (!narrow(p)) return f(std::int64_t{}, Count<1>{});
  return wide ? f(std::int32_t{}, Count<most>{}) : f(std::int32_t{}, Count<1>{});
}

template <int V, class T, class I, class Op>
void launch_forward(Stream& stream, const Pool2dParams& p, const Op& op, void* out, const void* x) {
  const std::int64_t count = p.N * p.C * p.P * p.Q / V;
  launch_over<block>(stream, forward_kernel<T, V, I, Op>, count, Windows<I>(p), op, static_cast<T*>(out),
                     static_cast<const T*>(x), static_cast<I>(count));
}
template <int V, class T, class I, class Op>
void launch_backward(Stream& stream, const Pool2dParams& p, const Op& op, void* dx) {
  const std::int64_t count = p.N * p.C * p.H * p.W / V;
  launch_over<block>(stream, backward_kernel<T, V, I, Op>, count, Windows<I>(p), op, static_cast<T*>(dx),
                     static_cast<I>(count));
}

template <class T>
void scatter(Stream& stream, const MaxPool2dBackwardArgs& a) {
  const std::int64_t planes = a.p.N * a.p.C, count = planes * a.p.H * a.p.W;
  auto* dx = static_cast<T*>(a.dx);
  launch_over<block>(stream, zero_kernel<T>, count, dx, count);
  launch_over<block>(stream, scatter_kernel<T>, planes, dx, static_cast<const T*>(a.dout), a.index, planes,
                     a.p.channels_last ? a.p.C : 1, static_cast<std::int32_t>(a.p.H * a.p.W), a.p.P * a.p.Q);
}

}  // namespace

void max_pool2d_forward(Stream& stream, const MaxPool2dArgs& a) {
  if (max_pool2d_fast(stream, a)) return;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    choose<T>(a.p, aligned(a.x) && aligned(a.out) && aligned(a.index), [&](auto i, auto v) {
      using Op = Extreme<T, v.value, decltype(i)>;
      launch_forward<v.value, T, decltype(i)>(stream, a.p, Op{a.index, a.minimum}, a.out, a.x);
    });
  });
}

void max_pool2d_backward(Stream& stream, const MaxPool2dBackwardArgs& a) {
  if (max_pool2d_backward_fast(stream, a)) return;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if (!a.p.adaptive && a.p.R == 0) return scatter<T>(stream, a);
    choose<T>(a.p, aligned(a.dx) && aligned(a.dout) && aligned(a.index), [&](auto i, auto v) {
      using Op = ExtremeGradient<T, v.value, decltype(i)>;
      launch_backward<v.value, T, decltype(i)>(stream, a.p, Op{static_cast<const T*>(a.dout), a.index}, a.dx);
    });
  });
}

void avg_pool2d_forward(Stream& stream, const AvgPool2dArgs& a) {
  if (avg_pool2d_fast(stream, a)) return;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    choose<T>(a.p, aligned(a.dst) && aligned(a.src), [&](auto i, auto v) {
      const Average<T, v.value, decltype(i)> op{a.count_include_pad, static_cast<T>(a.divisor_override)};
      launch_forward<v.value, T, decltype(i)>(stream, a.p, op, a.dst, a.src);
    });
  });
}

void avg_pool2d_backward(Stream& stream, const AvgPool2dArgs& a) {
  if (avg_pool2d_backward_fast(stream, a)) return;
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    choose<T>(a.p, aligned(a.dst) && aligned(a.src), [&](auto i, auto v) {
      const AverageGradient<T, v.value, decltype(i)> op{static_cast<const T*>(a.src), a.count_include_pad,
                                                        static_cast<T>(a.divisor_override)};
      launch_backward<v.value, T, decltype(i)>(stream, a.p, op, a.dst);
    });
  });
}

void lp_pool2d_forward(Stream& stream, const LpPool2dArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    choose<T>(a.p, aligned(a.out) && aligned(a.x), [&](auto i, auto v) {
      const Norm<T, v.value, decltype(i)> op{static_cast<T>(a.norm)};
      launch_forward<v.value, T, decltype(i)>(stream, a.p, op, a.out, a.x);
    });
  });
}

void lp_pool2d_backward(Stream& stream, const LpPool2dBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    choose<T>(a.p, aligned(a.dx) && aligned(a.dout) && aligned(a.x) && aligned(a.out), [&](auto i, auto v) {
      const NormGradient<T, v.value, decltype(i)> op{static_cast<const T*>(a.dout),
                                                     static_cast<const T*>(a.x),
                                                     static_cast<const T*>(a.out),
                                                     static_cast<T>(a.norm) - 1,
                                                     {}};
      launch_backward<v.value, T, decltype(i)>(stream, a.p, op, a.dx);
    });
  });
}

}  // namespace weft::cuda
