// Row normalization (layer, group and instance normalization); the formulas are in ops/norm.h.
//
//   rows up to 4096 values  in the registers of 8, 32 or 256 threads: read once, written once; the mean
//                           first, then the squares of the distances to it.
//   longer rows             a row is a channel of (1, rows, n) for channel_sums.h; then one pass that writes.
//   dgamma, dbeta           sums over the channels of (rows / groups, groups channels, L), by channel_sums.h.
//
// Sums are double. Bytes of a float32 element: forward 8, dx 12, dgamma and dbeta 8.
#include "cuda/channel_sums.h"
#include "cuda/device/math.h"
#include "cuda/device/row.h"

namespace weft::cuda {

namespace {

// Where gamma and beta of the values of a row lie: row r's first is (r % groups) channels, and each serves L
// values.
struct AffinePlaces {
  std::int64_t channels, L;
  WideDivider by_groups, by_L;
  AffinePlaces(std::int64_t rows, std::int64_t c, std::int64_t length, std::int64_t groups)
      : channels(c), L(length), by_groups(groups, rows), by_L(length, c * length) {}
  __device__ std::int64_t first(std::int64_t row) const { return by_groups.split(row) * channels; }
  __device__ std::int64_t channel(std::int64_t i) const {
    if (L != 1) by_L.split(i);
    return i;
  }
};

// gamma or beta for the values of a row in registers.
template <class T, class Shape>
__device__ void load_affine(T (&values)[Shape::K], const void* array, std::int64_t first,
                            const AffinePlaces& places, int n, T otherwise) {
  const auto* from = static_cast<const T*>(array);
  if (from && places.L == 1) return Shape::load(values, from + first, n);
#pragma unroll
  for (int k = 0; k < Shape::K; ++k)
    values[k] = from && Shape::place(k) < n ? from[first + places.channel(Shape::place(k))] : otherwise;
}

template <class T, class Shape>
__global__ void __launch_bounds__(row_block)
    normalize_rows(RowNormArgs a, AffinePlaces places, int length, double inverse_n) {
  const std::int64_t row = blockIdx.x * std::int64_t{Shape::rows} + threadIdx.x / Shape::Threads;
  const bool exists = row < a.rows;
  const int n = exists ? length : 0;
  T x[Shape::K];
  Shape::load(x, static_cast<const T*>(a.x) + row * length, n);
  double sum = 0, squares = 0;
#pragma unroll
  for (int k = 0; k < Shape::K; ++k)
    if (Shape::place(k) < n) sum += static_cast<double>(x[k]);
  const double mean = Shape::template reduce<Sum<double>>(sum) * inverse_n;
#pragma unroll
  for (int k = 0; k < Shape::K; ++k) {
    if (Shape::place(k) >= n) continue;
    const double d = static_cast<double>(x[k]) - mean;
    squares += d * d;
  }
  squares = Shape::template reduce<Sum<double>>(squares);
  const T center = static_cast<T>(mean), scale = static_cast<T>(::rsqrt(squares * inverse_n + a.eps));
  if (exists && threadIdx.x % Shape::Threads == 0) {
    static_cast<T*>(a.mean)[row] = center;
    static_cast<T*>(a.inv_std)[row] = scale;
  }
  const std::int64_t first = exists ? places.first(row) : 0;
  T weight[Shape::K];
  load_affine<T, Shape>(weight, a.gamma, first, places, n, T(1));
#pragma unroll
  for (int k = 0; k < Shape::K; ++k) x[k] = (x[k] - center) * scale * weight[k];
  if (a.beta) {
    load_affine<T, Shape>(weight, a.beta, first, places, n, T(0));
#pragma unroll
    for (int k = 0; k < Shape::K; ++k) x[k] += weight[k];
  }
  Shape::store(static_cast<T*>(a.out) + row * length, x, n);
}

// dx = inv_std (g - mean of g - xhat mean of g xhat), g = dout gamma.
template <class T, class Shape>
__global__ void __launch_bounds__(row_block)
    row_gradients(RowNormBackwardArgs a, AffinePlaces places, int length, double inverse_n) {
  const std::int64_t row = blockIdx.x * std::int64_t{Shape::rows} + threadIdx.x / Shape::Threads;
  const bool exists = row < a.rows;
  const int n = exists ? length : 0;
  T g[Shape::K], xhat[Shape::K], weight[Shape::K];
  Shape::load(xhat, static_cast<const T*>(a.x) + row * length, n);
  Shape::load(g, static_cast<const T*>(a.dout) + row * length, n);
  load_affine<T, Shape>(weight, a.gamma, exists ? places.first(row) : 0, places, n, T(1));
  const T mean = exists ? static_cast<const T*>(a.mean)[row] : T(0);
  const T inv_std = exists ? static_cast<const T*>(a.inv_std)[row] : T(0);
  Pair sums = {0, 0};
#pragma unroll
  for (int k = 0; k < Shape::K; ++k) {
    if (Shape::place(k) >= n) continue;
    g[k] *= weight[k];
    xhat[k] = (xhat[k] - mean) * inv_std;
    sums.first += static_cast<double>(g[k]);
    sums.second += static_cast<double>(g[k]) * static_cast<double>(xhat[k]);
  }
  sums = Shape::template reduce<Sum<Pair>>(sums);
  const T first = static_cast<T>(sums.first * inverse_n), second = static_cast<T>(sums.second * inverse_n);
#pragma unroll
  for (int k = 0; k < Shape::K; ++k)
    if (Shape::place(k) < n) g[k] = inv_std * (g[k] - first - xhat[k] * second);
  Shape::store(static_cast<T*>(a.dx) + row * length, g, n);
}

// --- long rows: channels of (1, rows, n)

template <class T>
struct RowMoments {
  using Number = T;
  RowNormArgs a;
  std::int64_t n;
  double inverse_n;

  using Channel = T;  // the shift
  __device__ T channel(std::int64_t row) const { return static_cast<const T*>(a.x)[row * n]; }
  template <int V>
  __device__ Pack<T, V> load(std::int64_t i) const {
    return load_pack<T, V>(static_cast<const T*>(a.x) + i);
  }
  template <int V>
  __device__ Pair term(const Pack<T, V>& x, int v, T shift, std::int64_t, std::int64_t, std::int64_t) const {
    const auto d = static_cast<double>(x.v[v] - shift);
    return {d, d * d};
  }
  __device__ void finish(std::int64_t row, Pair sum) const {
    const auto m = Moments<T>::of(sum, channel(row), inverse_n);
    static_cast<T*>(a.mean)[row] = static_cast<T>(m.mean);
    static_cast<T*>(a.inv_std)[row] = static_cast<T>(::rsqrt(m.var + a.eps));
  }
};

template <class T>
__global__ void __launch_bounds__(sum_block)
    normalize_long_rows(RowNormArgs a, AffinePlaces places, WideDivider by_n, std::int64_t values) {
  const std::int64_t step = gridDim.x * std::int64_t{sum_block};
  for (std::int64_t i = blockIdx.x * std::int64_t{sum_block} + threadIdx.x; i < values; i += step) {
    std::int64_t row = i;
    const std::int64_t at = by_n.split(row), affine = places.first(row) + places.channel(at);
    const T x = static_cast<const T*>(a.x)[i], mean = static_cast<const T*>(a.mean)[row];
    static_cast<T*>(a.out)[i] =
        (x - mean) * static_cast<const T*>(a.inv_std)[row] * value_or(a.gamma, affine, T(1)) +
        value_or(a.beta, affine, T(0));
  }
}

template <class T, int V>
struct Two {
  Pack<T, V> x, dout;
};

// The sums of g and of g xhat over long rows.
template <class T>
struct RowGradientSums {
  using Number = T;
  RowNormBackwardArgs a;
  AffinePlaces places;
  double inverse_n;
  T* shares;  // two for each row

  struct Channel {
    T mean, inv_std;
    std::int64_t affine;
  };
  __device__ Channel channel(std::int64_t row) const {
    return {static_cast<const T*>(a.mean)[row], static_cast<const T*>(a.inv_std)[row], places.first(row)};
  }
  template <int V>
  __device__ Two<T, V> load(std::int64_t i) const {
    return {load_pack<T, V>(static_cast<const T*>(a.x) + i),
            load_pack<T, V>(static_cast<const T*>(a.dout) + i)};
  }
  template <int V>
  __device__ Pair term(const Two<T, V>& loaded, int v, const Channel& row, std::int64_t, std::int64_t,
                       std::int64_t l) const {
    const T g = loaded.dout.v[v] * value_or(a.gamma, row.affine + places.channel(l), T(1));
    const T xhat = (loaded.x.v[v] - row.mean) * row.inv_std;
    return {static_cast<double>(g), static_cast<double>(g) * static_cast<double>(xhat)};
  }
  __device__ void finish(std::int64_t row, Pair sum) const {
    shares[2 * row] = static_cast<T>(sum.first * inverse_n);
    shares[2 * row + 1] = static_cast<T>(sum.second * inverse_n);
  }
};

template <class T>
__global__ void __launch_bounds__(sum_block)
    long_row_gradients(RowNormBackwardArgs a, AffinePlaces places, WideDivider by_n, std::int64_t values,
                       const T* shares) {
  const std::int64_t step = gridDim.x * std::int64_t{sum_block};
  for (std::int64_t i = blockIdx.x * std::int64_t{sum_block} + threadIdx.x; i < values; i += step) {
    std::int64_t row = i;
    const std::int64_t at = by_n.split(row), affine = places.first(row) + places.channel(at);
    const T inv_std = static_cast<const T*>(a.inv_std)[row];
    const T g = static_cast<const T*>(a.dout)[i] * value_or(a.gamma, affine, T(1));
    const T xhat = (static_cast<const T*>(a.x)[i] - static_cast<const T*>(a.mean)[row]) * inv_std;
    static_cast<T*>(a.dx)[i] = inv_std * (g - shares[2 * row] - xhat * shares[2 * row + 1]);
  }
}

// --- dgamma and dbeta

template <class T>
struct AffineGradients {
  using Number = T;
  RowNormBackwardArgs a;
  WideDivider by_channels;

  using Channel = std::int64_t;  // its group
  __device__ std::int64_t channel(std::int64_t c) const {
    by_channels.split(c);
    return c;
  }
  template <int V>
  __device__ Two<T, V> load(std::int64_t i) const {
    return {load_pack<T, V>(static_cast<const T*>(a.x) + i),
            load_pack<T, V>(static_cast<const T*>(a.dout) + i)};
  }
  template <int V>
  __device__ Pair term(const Two<T, V>& loaded, int v, std::int64_t group, std::int64_t image, std::int64_t,
                       std::int64_t) const {
    const std::int64_t row = image * a.groups + group;
    const T xhat =
        (loaded.x.v[v] - static_cast<const T*>(a.mean)[row]) * static_cast<const T*>(a.inv_std)[row];
    const auto g = static_cast<double>(loaded.dout.v[v]);
    return {g, g * static_cast<double>(xhat)};
  }
  __device__ void finish(std::int64_t c, Pair sum) const {
    if (a.dbeta) static_cast<T*>(a.dbeta)[c] = static_cast<T>(sum.first);
    if (a.dgamma) static_cast<T*>(a.dgamma)[c] = static_cast<T>(sum.second);
  }
};

template <class T>
void forward(const Stream& stream, const RowNormArgs& a) {
  if (a.rows == 0) return;
  const std::int64_t n = a.channels * a.L;
  const AffinePlaces places(a.rows, a.channels, a.L, a.groups);
  const double inverse_n = n > 0 ? 1 / static_cast<double>(n) : 0;
  const bool packs = aligned(a.x) && aligned(a.out);
  const bool affine_packs = a.L != 1 || (aligned(a.gamma) && aligned(a.beta));
  const auto rows = [&]<class Shape>(Shape) {
    launch_grid<row_block>(stream, normalize_rows<T, Shape>,
                           static_cast<unsigned>(ceil_div(a.rows, Shape::rows)), a, places,
                           static_cast<int>(n), inverse_n);
  };
  if (with_row_shape_of<T, 16>(a.rows, n, packs && affine_packs, rows)) return;
  sum_channels(stream, 1, a.rows, n, packs, RowMoments<T>{a, n, inverse_n});
  launch_over<sum_block>(stream, normalize_long_rows<T>, a.rows * n, a, places, WideDivider(n, a.rows * n),
                         a.rows * n);
}

template <class T>
void row_gradients_of(const Stream& stream, const RowNormBackwardArgs& a) {
  const std::int64_t n = a.channels * a.L;
  const AffinePlaces places(a.rows, a.channels, a.L, a.groups);
  const double inverse_n = 1 / static_cast<double>(n);
  const bool packs = aligned(a.x) && aligned(a.dout) && aligned(a.dx);
  const auto rows = [&]<class Shape>(Shape) {
    launch_grid<row_block>(stream, row_gradients<T, Shape>,
                           static_cast<unsigned>(ceil_div(a.rows, Shape::rows)), a, places,
                           static_cast<int>(n), inverse_n);
  };
  if (with_row_shape_of<T, 16>(a.rows, n, packs && (a.L != 1 || aligned(a.gamma)), rows)) return;
  const Workspace shares(stream, 2 * a.rows * sizeof(T));
  sum_channels(stream, 1, a.rows, n, packs, RowGradientSums<T>{a, places, inverse_n, shares.data<T>()});
  launch_over<sum_block>(stream, long_row_gradients<T>, a.rows * n, a, places, WideDivider(n, a.rows * n),
                         a.rows * n, shares.data<T>());
}

template <class T>
void backward(const Stream& stream, const RowNormBackwardArgs& a) {
  if (a.dgamma || a.dbeta)
    sum_channels(stream, a.rows / a.groups, a.groups * a.channels, a.L, aligned(a.x) && aligned(a.dout),
                 AffineGradients<T>{a, WideDivider(a.channels, a.groups * a.channels)});
  if (a.dx && a.rows * a.channels * a.L > 0) row_gradients_of<T>(stream, a);
}

}  // namespace

void row_norm_forward(Stream& stream, const RowNormArgs& a) {
  a.dtype == DType::float32 ? forward<float>(stream, a) : forward<double>(stream, a);
}
void row_norm_backward(Stream& stream, const RowNormBackwardArgs& a) {
  a.dtype == DType::float32 ? backward<float>(stream, a) : backward<double>(stream, a);
}

}  // namespace weft::cuda
