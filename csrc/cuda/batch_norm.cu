// Batch normalization; the formulas are in ops/norm.h.
//
// Training: the moments of each channel (channel_sums.h), then one pass that writes the result. Backward: the
// sums of the gradient and of its product with x - mean, then one pass for dx. Sums are double. The channel
// of a value follows from its number by multiplications (divisor.h); with the channels last (L = 1), packs
// hold neighbouring channels.
//
// Bytes: forward reads x twice and writes once (the second reading of a small x comes from the cache);
// backward reads x and dout twice and writes once.
#include "cuda/channel_sums.h"
#include "cuda/device/math.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

// v = (x - mean) scale + shift, of one channel.
template <class T>
struct ChannelMap {
  T mean, scale, shift;
  __device__ T operator()(T x) const { return (x - mean) * scale + shift; }
};

template <class T>
struct ForwardSums {
  using Number = T;
  BatchNormArgs a;
  double M, inverse_M;  // the values of a channel

  struct Channel {
    T shift;
  };
  template <int V>
  using Loaded = Pack<T, V>;

  __device__ T shift(std::int64_t c) const {
    return a.N * a.L > 0 ? static_cast<const T*>(a.x)[c * a.L] : T(0);
  }
  __device__ Channel channel(std::int64_t c) const { return {shift(c)}; }
  template <int V>
  __device__ Pack<T, V> load(std::int64_t i) const {
    return load_pack<T, V>(static_cast<const T*>(a.x) + i);
  }
  template <int V>
  __device__ Pair term(const Pack<T, V>& x, int v, Channel channel, std::int64_t, std::int64_t,
                       std::int64_t) const {
    const auto d = static_cast<double>(x.v[v] - channel.shift);
    return {d, d * d};
  }
  // Saves the statistics for backward, and moves the running ones.
  __device__ void finish(std::int64_t c, Pair sum) const {
    auto *running_mean = static_cast<T*>(a.running_mean), *running_var = static_cast<T*>(a.running_var);
    Moments<T> m = Moments<T>::of(sum, shift(c), inverse_M);
    if (!a.training) {
      m.mean = static_cast<double>(running_mean[c]);
      m.var = static_cast<double>(running_var[c]);
    } else if (running_mean && M > 0) {
      // The counter is moved by the next kernel.
      const double move =
          a.cumulative ? 1.0 / (static_cast<double>(a.num_batches_tracked[0]) + 1) : a.momentum;
      running_mean[c] = static_cast<T>((1 - move) * static_cast<double>(running_mean[c]) + move * m.mean);
      running_var[c] =
          static_cast<T>((1 - move) * static_cast<double>(running_var[c]) + move * m.squares / (M - 1));
    }
    static_cast<T*>(a.mean)[c] = static_cast<T>(m.mean);
    static_cast<T*>(a.inv_std)[c] = static_cast<T>(::rsqrt(m.var + a.eps));
  }
};

// The statistics of inference.
template <class T>
__global__ void __launch_bounds__(block) use_running_statistics(ForwardSums<T> sums) {
  const std::int64_t c = blockIdx.x * std::int64_t{block} + threadIdx.x;
  if (c < sums.a.C) sums.finish(c, {0, 0});
}

// Values of (N, C, L) in packs of V, which lie in one channel, or, with L = 1, in V neighbouring ones.
struct PackWalk {
  std::int64_t packs, L;
  WideDivider by_L, by_C;
  PackWalk(std::int64_t N, std::int64_t C, std::int64_t length, int V)
      : packs(N * C * length / V), L(length), by_L(length, N * C * length), by_C(C, N * C * length) {}
  __device__ std::int64_t channel(std::int64_t i) const {
    if (L != 1) by_L.split(i);
    return by_C.split(i);
  }
};

template <class T, int V>
__device__ void load_maps(ChannelMap<T> (&maps)[V], const void* mean, const void* inv_std, const void* gamma,
                          const void* beta, std::int64_t c, bool one_channel) {
  const auto *means = static_cast<const T*>(mean), *inv_stds = static_cast<const T*>(inv_std);
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const std::int64_t at = one_channel ? c : c + v;
    if (one_channel && v > 0)
      maps[v] = maps[0];
    else
      maps[v] = {means[at], inv_stds[at] * value_or(gamma, at, T(1)), value_or(beta, at, T(0))};
  }
}

template <class T, int V>
__global__ void __launch_bounds__(block) normalize(BatchNormArgs a, PackWalk walk) {
  if (a.training && a.num_batches_tracked && blockIdx.x == 0 && threadIdx.x == 0)
    ++*reinterpret_cast<std::uint64_t*>(a.num_batches_tracked);  // after the largest comes the smallest
  const std::int64_t step = gridDim.x * std::int64_t{block};
  for (std::int64_t p = blockIdx.x * std::int64_t{block} + threadIdx.x; p < walk.packs; p += step) {
    ChannelMap<T> map[V];
    load_maps<T, V>(map, a.mean, a.inv_std, a.gamma, a.beta, walk.channel(p * V), walk.L != 1);
    Pack<T, V> x = load_pack<T, V>(static_cast<const T*>(a.x) + p * V), residual{};
    if (a.residual) residual = load_pack<T, V>(static_cast<const T*>(a.residual) + p * V);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      x.v[v] = map[v](x.v[v]);
      if (a.residual) x.v[v] += residual.v[v];
      if (a.relu && x.v[v] <= 0) x.v[v] = 0;
    }
    store_pack<T, V>(static_cast<T*>(a.out) + p * V, x);
  }
}

template <class T, int V>
struct Gradients {
  Pack<T, V> x, dout, out;
  __device__ static Gradients load(const BatchNormBackwardArgs& a, std::int64_t i) {
    Gradients g;
    g.x = load_pack<T, V>(static_cast<const T*>(a.x) + i);
    g.dout = load_pack<T, V>(static_cast<const T*>(a.dout) + i);
    if (a.relu && a.out) g.out = load_pack<T, V>(static_cast<const T*>(a.out) + i);
    return g;
  }
  // The gradient behind ReLU.
  __device__ T behind_relu(const BatchNormBackwardArgs& a, int v, const ChannelMap<T>& map) const {
    if (!a.relu) return dout.v[v];
    return (a.out ? out.v[v] : map(x.v[v])) <= 0 ? T(0) : dout.v[v];
  }
};

template <class T>
struct BackwardSums {
  using Number = T;
  BatchNormBackwardArgs a;
  double inverse_M;
  T* shares;  // two for each channel: dx = scale (g - first - (x - mean) second)

  using Channel = ChannelMap<T>;
  template <int V>
  using Loaded = Gradients<T, V>;

  __device__ Channel channel(std::int64_t c) const {
    ChannelMap<T> map[1];
    load_maps<T, 1>(map, a.mean, a.inv_std, a.gamma, a.beta, c, true);
    return map[0];
  }
  template <int V>
  __device__ Gradients<T, V> load(std::int64_t i) const {
    return Gradients<T, V>::load(a, i);
  }
  template <int V>
  __device__ Pair term(const Gradients<T, V>& loaded, int v, const Channel& map, std::int64_t, std::int64_t,
                       std::int64_t) const {
    const T g = loaded.behind_relu(a, v, map);
    return {static_cast<double>(g), static_cast<double>(g) * static_cast<double>(loaded.x.v[v] - map.mean)};
  }
  __device__ void finish(std::int64_t c, Pair sum) const {
    const auto inv_std = static_cast<double>(static_cast<const T*>(a.inv_std)[c]);

    if (a.dbeta) static_cast<T*>(a.dbeta)[c] = static_cast<T>(sum.first);
    if (a.dgamma) static_cast<T*>(a.dgamma)[c] = static_cast<T>(sum.second * inv_std);
    shares[2 * c] = static_cast<T>(a.training ? sum.first * inverse_M : 0);
    shares[2 * c + 1] = static_cast<T>(a.training ? sum.second * inverse_M * inv_std * inv_std : 0);
  }
};

template <class T, int V>
__global__ void __launch_bounds__(block)
    batch_gradient(BatchNormBackwardArgs a, PackWalk walk, const T* shares) {
  const std::int64_t step = gridDim.x * std::int64_t{block};
  for (std::int64_t p = blockIdx.x * std::int64_t{block} + threadIdx.x; p < walk.packs; p += step) {
    const bool one_channel = walk.L != 1;
    const std::int64_t c = walk.channel(p * V);
    ChannelMap<T> map[V];
    load_maps<T, V>(map, a.mean, a.inv_std, a.gamma, a.beta, c, one_channel);
    const auto loaded = Gradients<T, V>::load(a, p * V);
    Pack<T, V> g, dx;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T* share = shares + 2 * (one_channel ? c : c + v);
      g.v[v] = loaded.behind_relu(a, v, map[v]);
      dx.v[v] = map[v].scale * (g.v[v] - share[0] - (loaded.x.v[v] - map[v].mean) * share[1]);
    }
    if (a.dresidual) store_pack<T, V>(static_cast<T*>(a.dresidual) + p * V, g);
    if (a.dx) store_pack<T, V>(static_cast<T*>(a.dx) + p * V, dx);
  }
}

template <class T>
void forward(const Stream& stream, const BatchNormArgs& a) {
  constexpr int V = per_16_bytes<T>;
  const bool packs = aligned(a.x);
  const auto M = static_cast<double>(a.N * a.L);
  const ForwardSums<T> sums{a, M, M > 0 ? 1 / M : 0};
  if (a.training)
    sum_channels(stream, a.N, a.C, a.L, packs, sums);
  else if (a.C > 0)
    launch_grid<block>(stream, use_running_statistics<T>, static_cast<unsigned>(ceil_div(a.C, block)), sums);
  const bool by_packs = packs && aligned(a.out) && aligned(a.residual) && (a.L == 1 ? a.C : a.L) % V == 0;
  const PackWalk walk(a.N, a.C, a.L, by_packs ? V : 1);
  const unsigned blocks = grid_for(stream, walk.packs, block);  // one that counts the batch at least
  if (by_packs)
    launch_grid<block>(stream, normalize<T, V>, blocks, a, walk);
  else
    launch_grid<block>(stream, normalize<T, 1>, blocks, a, walk);
}

template <class T>
void backward(const Stream& stream, const BatchNormBackwardArgs& a) {
  constexpr int V = per_16_bytes<T>;
  const bool packs = aligned(a.x) && aligned(a.dout) && aligned(a.out);
  const Workspace shares(stream, 2 * a.C * sizeof(T));
  sum_channels(stream, a.N, a.C, a.L, packs,
               BackwardSums<T>{a, 1 / static_cast<double>(a.N * a.L), shares.data<T>()});
  if ((!a.dx && !a.dresidual) || a.N * a.C * a.L == 0) return;
  const bool by_packs = packs && aligned(a.dx) && aligned(a.dresidual) && (a.L == 1 ? a.C : a.L) % V == 0;
  const PackWalk walk(a.N, a.C, a.L, by_packs ? V : 1);
  if (by_packs)
    launch_over<block>(stream, batch_gradient<T, V>, walk.packs, a, walk, shares.data<T>());
  else
    launch_over<block>(stream, batch_gradient<T, 1>, walk.packs, a, walk, shares.data<T>());
}

}  // namespace

void batch_norm_forward(Stream& stream, const BatchNormArgs& a) {
  a.dtype == DType::float32 ? forward<float>(stream, a) : forward<double>(stream, a);
}
void batch_norm_backward(Stream& stream, const BatchNormBackwardArgs& a) {
  a.dtype == DType::float32 ? backward<float>(stream, a) : backward<double>(stream, a);
}

}  // namespace weft::cuda
