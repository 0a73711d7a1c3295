// Pointwise losses; the formulas are in ops/loss.h.
//
// Each in the precision of its dtype, sums in double: blocks of `piece` elements, then their sums in order.
// Bytes: two arrays in (three with a weight), one out where there is no reduction; backward two in and one
// out, or two with both gradients.
#include "cuda/device/math.h"
#include "cuda/device/reduce.h"
#include "cuda/device/vec.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;
constexpr std::int64_t least_piece = 8192, most_pieces = 1024;

// At least -100, as in torch.
template <class T>
__device__ T clipped_log(T x) {
  const T log = math::log(x);
  return log < -100 ? T(-100) : log;
}

template <class T>
__device__ T sign(T d) {
  return d > 0 ? T(1) : d < 0 ? T(-1) : d;
}

template <class T>
__device__ T loss_value(PointwiseLoss kind, T x, T t, T w, T param) {
  const T d = x - t, distance = math::fabs(d);
  switch (kind) {
    case PointwiseLoss::mse: return d * d;
    case PointwiseLoss::l1: return distance;
    case PointwiseLoss::huber: return distance <= param ? d * d / 2 : param * (distance - param / 2);
    case PointwiseLoss::bce: return -w * (t * clipped_log(x) + (1 - t) * clipped_log(1 - x));
    case PointwiseLoss::bce_with_logits:
      return w * ((x > 0 ? x : T(0)) - x * t + math::log1p(math::exp(-math::fabs(x))));
    case PointwiseLoss::hinge: return param - t * x <= 0 ? T(0) : param - t * x;
  }
  return 0;
}

template <class T>
struct Slopes {  // by the input and by the target
  T dx, dt;
};
template <class T>
__device__ Slopes<T> loss_slopes(PointwiseLoss kind, T x, T t, T w, T param) {
  const T d = x - t;
  switch (kind) {
    case PointwiseLoss::mse: return {2 * d, -2 * d};
    case PointwiseLoss::l1: return {sign(d), -sign(d)};
    case PointwiseLoss::huber: {
      const T slope = math::fabs(d) <= param ? d : param * sign(d);
      return {slope, -slope};
    }
    case PointwiseLoss::bce: {  // as in torch: the denominator is kept away from 0
      const T spread = x * (1 - x);
      return {w * d / (spread < T(1e-12) ? T(1e-12) : spread), w * (clipped_log(1 - x) - clipped_log(x))};
    }
    case PointwiseLoss::bce_with_logits: return {w * (1 / (1 + math::exp(-x)) - t), -w * x};
    case PointwiseLoss::hinge:
      if (param - t * x <= 0) return {0, 0};
      return {-t, -x};
  }
  return {0, 0};
}

template <int V, class T>
__device__ Pack<T, V> load_or_one(const void* from, std::int64_t i) {
  Pack<T, V> pack;
  if (from) return load_pack<T, V>(static_cast<const T*>(from) + i);
#pragma unroll
  for (int v = 0; v < V; ++v) pack.v[v] = 1;
  return pack;
}

// The losses of V neighbours; stored where there is no reduction.
template <int V, class T>
__device__ double losses_at(const PointwiseLossArgs& a, std::int64_t i) {
  const auto x = load_pack<T, V>(static_cast<const T*>(a.input) + i),
             t = load_pack<T, V>(static_cast<const T*>(a.target) + i);
  const auto w = load_or_one<V, T>(a.weight, i);
  Pack<T, V> loss;
  double sum = 0;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    loss.v[v] = loss_value(a.kind, x.v[v], t.v[v], w.v[v], static_cast<T>(a.param));
    sum += static_cast<double>(loss.v[v]);
  }
  if (a.reduction == Reduction::none) store_pack<T, V>(static_cast<T*>(a.out) + i, loss);
  return sum;
}

template <class T>
__device__ void write_total(const PointwiseLossArgs& a, double sum) {
  *static_cast<T*>(a.out) =
      static_cast<T>(a.reduction == Reduction::mean ? sum / static_cast<double>(a.n) : sum);
}

template <class T, int V>
__global__ void __launch_bounds__(block)
    loss_forward(PointwiseLossArgs a, std::int64_t piece, double* parts) {
  const std::int64_t begin = blockIdx.x * piece, end = begin + piece < a.n ? begin + piece : a.n;
  const std::int64_t whole = begin + (end - begin) / V * V;
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x * V; i < whole; i += block * V) sum += losses_at<V, T>(a, i);
  if constexpr (V > 1)
    if (whole + threadIdx.x < end) sum += losses_at<1, T>(a, whole + threadIdx.x);
  if (a.reduction == Reduction::none) return;  // of all threads
  sum = block_reduce<Sum<double>, block>(sum);
  if (threadIdx.x != 0) return;
  if (parts)
    parts[blockIdx.x] = sum;
  else
    write_total<T>(a, sum);
}

template <class T>
__global__ void __launch_bounds__(block) loss_total(PointwiseLossArgs a, int count, const double* parts) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += block) sum += parts[i];
  sum = block_reduce<Sum<double>, block>(sum);
  if (threadIdx.x == 0) write_total<T>(a, sum);
}

template <int V, class T>
__device__ void gradients_at(const PointwiseLossBackwardArgs& a, std::int64_t i, T share) {
  const auto x = load_pack<T, V>(static_cast<const T*>(a.input) + i),
             t = load_pack<T, V>(static_cast<const T*>(a.target) + i);
  const auto w = load_or_one<V, T>(a.weight, i);
  const auto* dout = static_cast<const T*>(a.dout);
  Pack<T, V> d, dx, dt;
  if (a.reduction == Reduction::none) d = load_pack<T, V>(dout + i);
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const Slopes<T> slopes = loss_slopes(a.kind, x.v[v], t.v[v], w.v[v], static_cast<T>(a.param));
    const T scale = a.reduction == Reduction::none ? d.v[v] : share;
    dx.v[v] = scale * slopes.dx;
    dt.v[v] = scale * slopes.dt;
  }
  if (a.dinput) store_pack<T, V>(static_cast<T*>(a.dinput) + i, dx);
  if (a.dtarget) store_pack<T, V>(static_cast<T*>(a.dtarget) + i, dt);
}

template <class T, int V>
__global__ void __launch_bounds__(block) loss_backward(PointwiseLossBackwardArgs a) {
  const std::int64_t thread = blockIdx.x * std::int64_t{block} + threadIdx.x,
                     step = gridDim.x * std::int64_t{block};
  const std::int64_t packs = a.n / V, rest = packs * V + thread;
  T share = 0;
  if (a.reduction != Reduction::none) share = *static_cast<const T*>(a.dout);
  if (a.reduction == Reduction::mean)
    share = static_cast<T>(static_cast<double>(share) / static_cast<double>(a.n));
  for (std::int64_t p = thread; p < packs; p += step) gradients_at<V, T>(a, p * V, share);
  if constexpr (V > 1)
    if (rest < a.n) gradients_at<1, T>(a, rest, share);
}

template <class T, int V>
void forward(const Stream& stream, const PointwiseLossArgs& a) {
  std::int64_t piece = ceil_div(a.n, most_pieces);
  piece = piece < least_piece ? least_piece : ceil_div(piece, 64) * 64;
  const auto pieces = static_cast<unsigned>(a.n == 0 ? 1 : ceil_div(a.n, piece));
  const bool several = a.reduction != Reduction::none && pieces > 1;
  const Workspace parts(stream, several ? pieces * sizeof(double) : 0);
  double* to = several ? parts.data<double>() : nullptr;
  launch_grid<block>(stream, loss_forward<T, V>, pieces, a, piece, to);
  if (several) launch_grid<block>(stream, loss_total<T>, 1, a, static_cast<int>(pieces), to);
}

template <class T>
void forward_of(const Stream& stream, const PointwiseLossArgs& a) {
  const bool packs = aligned(a.input) && aligned(a.target) && aligned(a.weight) &&
                     (a.reduction != Reduction::none || aligned(a.out));
  packs ? forward<T, per_16_bytes<T>>(stream, a) : forward<T, 1>(stream, a);
}

template <class T>
void backward_of(const Stream& stream, const PointwiseLossBackwardArgs& a) {
  constexpr int V = per_16_bytes<T>;
  const bool packs = aligned(a.input) && aligned(a.target) && aligned(a.weight) && aligned(a.dinput) &&
                     aligned(a.dtarget) && (a.reduction != Reduction::none || aligned(a.dout));
  if (packs)
    launch_over<block>(stream, loss_backward<T, V>, ceil_div(a.n, V), a);
  else
    launch_over<block>(stream, loss_backward<T, 1>, a.n, a);
}

}  // namespace

void pointwise_loss_forward(Stream& stream, const PointwiseLossArgs& a) {
  if (a.n == 0 && a.reduction == Reduction::none) return;
  a.dtype == DType::float32 ? forward_of<float>(stream, a) : forward_of<double>(stream, a);
}
void pointwise_loss_backward(Stream& stream, const PointwiseLossBackwardArgs& a) {
  a.dtype == DType::float32 ? backward_of<float>(stream, a) : backward_of<double>(stream, a);
}

}  // namespace weft::cuda
