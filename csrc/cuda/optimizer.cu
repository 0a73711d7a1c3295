// One step of each optimizer over a flat buffer; the formulas are in ops/optimizer.h.
//
// A thread updates 16 bytes of each array at a time, all of them read once and written once. What a step has
// for all parameters (learning rate, corrections of Adam's bias) is computed from device memory by one thread
// of each block. The count of steps goes up when all blocks have read it: who reads it adds one to its upper
// bits, where the blocks are counted, and the last one puts the next count in their place. Bytes of a float32
// parameter: SGD 12, with momentum 20, Adam 28. Divisions and roots hide behind these (below 60 instructions
// a parameter of the 190 that there is time for).
#include "cuda/device/math.h"
#include "cuda/device/reduce.h"
#include "cuda/device/vec.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

template <class T, int V>
__device__ __forceinline__ Pack<T, V> load(const void* from, std::int64_t i) {
  return load_pack<T, V>(static_cast<const T*>(from) + i);
}
template <class T, int V>
__device__ __forceinline__ void store(void* to, std::int64_t i, const Pack<T, V>& pack) {
  store_pack<T, V>(static_cast<T*>(to) + i, pack);
}

// g = (maximize ? -grad : grad) + weight_decay w
template <class T>
__device__ __forceinline__ T decayed(T grad, T w, T weight_decay, bool maximize) {
  const T g = maximize ? -grad : grad;
  return weight_decay == 0 ? g : g + weight_decay * w;
}

// Each optimizer: `make` computes what all parameters share, `step` updates V parameters from the i-th on.

template <class T>
struct Sgd {
  using Number = T;
  using Args = SgdArgs;
  T lr, momentum, keep, decay;
  bool first;  // the first step: the buffer is overwritten, whatever it holds

  __device__ static Sgd make(const SgdArgs& a, std::int64_t before) {
    return {static_cast<T>(a.lr[0]), static_cast<T>(a.momentum_now ? *a.momentum_now : a.momentum),
            static_cast<T>(1 - a.dampening), static_cast<T>(a.weight_decay), before == 0};
  }
  template <int V>
  __device__ void step(const SgdArgs& a, std::int64_t i) const {
    Pack<T, V> w = load<T, V>(a.param, i), b{};
    const Pack<T, V> grad = load<T, V>(a.grad, i);
    if (a.momentum_buffer && !first) b = load<T, V>(a.momentum_buffer, i);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      T g = decayed(grad.v[v], w.v[v], decay, a.maximize);
      if (a.momentum_buffer) {
        b.v[v] = first ? g : momentum * b.v[v] + keep * g;
        g = a.nesterov ? g + momentum * b.v[v] : b.v[v];
      }
      w.v[v] -= lr * g;
    }
    store<T, V>(a.param, i, w);
    if (a.momentum_buffer) store<T, V>(a.momentum_buffer, i, b);
  }
};

template <class T>
struct Adagrad {
  using Number = T;
  using Args = AdagradArgs;
  T lr, decay, eps;

  __device__ static Adagrad make(const AdagradArgs& a, std::int64_t before) {
    return {static_cast<T>(a.lr[0] / (1 + static_cast<double>(before) * a.lr_decay)),
            static_cast<T>(a.weight_decay), static_cast<T>(a.eps)};
  }
  template <int V>
  __device__ void step(const AdagradArgs& a, std::int64_t i) const {
    Pack<T, V> w = load<T, V>(a.param, i), s = load<T, V>(a.square_sum, i);
    const Pack<T, V> grad = load<T, V>(a.grad, i);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T g = decayed(grad.v[v], w.v[v], decay, a.maximize);
      s.v[v] += g * g;
      w.v[v] -= lr * g / (math::sqrt(s.v[v]) + eps);
    }
    store<T, V>(a.param, i, w);
    store<T, V>(a.square_sum, i, s);
  }
};

template <class T>
struct Rmsprop {
  using Number = T;
  using Args = RmspropArgs;
  T lr, momentum, decay, eps, alpha, rest;

  __device__ static Rmsprop make(const RmspropArgs& a, std::int64_t) {
    return {static_cast<T>(a.lr[0]),        static_cast<T>(a.momentum_now ? *a.momentum_now : a.momentum),
            static_cast<T>(a.weight_decay), static_cast<T>(a.eps),
            static_cast<T>(a.alpha),        static_cast<T>(1 - a.alpha)};
  }
  template <int V>
  __device__ void step(const RmspropArgs& a, std::int64_t i) const {
    Pack<T, V> w = load<T, V>(a.param, i), s = load<T, V>(a.square_average, i), m{}, b{};
    const Pack<T, V> grad = load<T, V>(a.grad, i);
    if (a.grad_average) m = load<T, V>(a.grad_average, i);
    if (a.momentum_buffer) b = load<T, V>(a.momentum_buffer, i);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T g = decayed(grad.v[v], w.v[v], decay, a.maximize);
      s.v[v] = alpha * s.v[v] + rest * g * g;
      T variance = s.v[v];
      if (a.grad_average) {
        m.v[v] = alpha * m.v[v] + rest * g;
        variance -= m.v[v] * m.v[v];
        if (variance < 0) variance = 0;  // by rounding only
      }
      T update = g / (math::sqrt(variance) + eps);
      if (a.momentum_buffer) update = b.v[v] = momentum * b.v[v] + update;
      w.v[v] -= lr * update;
    }
    store<T, V>(a.param, i, w);
    store<T, V>(a.square_average, i, s);
    if (a.grad_average) store<T, V>(a.grad_average, i, m);
    if (a.momentum_buffer) store<T, V>(a.momentum_buffer, i, b);
  }
};

template <class T>
struct Adam {
  using Number = T;
  using Args = AdamArgs;
  // sqrt(v / c) = sqrt(v) / sqrt(c): one division fewer a parameter.
  T lr, inverse_root, shrink, decay, beta1, rest1, beta2, rest2, eps;

  __device__ static Adam make(const AdamArgs& a, std::int64_t before) {
    const double step = static_cast<double>(before + 1), beta1 = a.beta1_now ? *a.beta1_now : a.beta1;
    return {static_cast<T>(a.lr[0] / (1 - ::pow(beta1, step))),
            static_cast<T>(1 / ::sqrt(1 - ::pow(a.beta2, step))),
            static_cast<T>(a.decoupled ? 1 - a.lr[0] * a.weight_decay : 1),
            static_cast<T>(a.decoupled ? 0 : a.weight_decay),
            static_cast<T>(beta1),
            static_cast<T>(1 - beta1),
            static_cast<T>(a.beta2),
            static_cast<T>(1 - a.beta2),
            static_cast<T>(a.eps)};
  }
  template <int V>
  __device__ void step(const AdamArgs& a, std::int64_t i) const {
    Pack<T, V> w = load<T, V>(a.param, i), m = load<T, V>(a.first_moment, i),
               s = load<T, V>(a.second_moment, i);
    const Pack<T, V> grad = load<T, V>(a.grad, i);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T g = decayed(grad.v[v], w.v[v], decay, a.maximize);
      m.v[v] = beta1 * m.v[v] + rest1 * g;
      s.v[v] = beta2 * s.v[v] + rest2 * g * g;
      w.v[v] = w.v[v] * shrink - lr * m.v[v] / (math::sqrt(s.v[v]) * inverse_root + eps);
    }
    store<T, V>(a.param, i, w);
    store<T, V>(a.first_moment, i, m);
    store<T, V>(a.second_moment, i, s);
  }
};

template <class T>
struct ClipScale {
  using Number = T;
  using Args = ClipScaleArgs;
  T scale;
  bool needed;  // a norm of NaN scales: what went wrong stays visible

  __device__ static ClipScale make(const ClipScaleArgs& a, std::int64_t) {
    const double scale = a.max_norm / (a.norm[0] + 1e-6);
    return {static_cast<T>(scale), !(scale >= 1)};
  }
  template <int V>
  __device__ void step(const ClipScaleArgs& a, std::int64_t i) const {
    if (!needed) return;
    Pack<T, V> grad = load<T, V>(a.grad, i);
#pragma unroll
    for (int v = 0; v < V; ++v) grad.v[v] *= scale;
    store<T, V>(a.grad, i, grad);
  }
};

// The number of steps before this one; counts it up. By one thread of each block.
__device__ __forceinline__ std::int64_t count_up(std::int64_t* step) {
  constexpr int shift = 40;  // 2^40 steps, 2^24 blocks
  constexpr unsigned long long arrived = 1ull << shift;
  auto* const word = reinterpret_cast<unsigned long long*>(step);
  const unsigned long long seen = atomicAdd(word, arrived);
  if (seen >> shift == gridDim.x - 1) atomicAdd(word, 1 - gridDim.x * arrived);
  return static_cast<std::int64_t>(seen & (arrived - 1));
}
__device__ __forceinline__ std::int64_t steps_before(const ClipScaleArgs&) { return 0; }
template <class Args>
__device__ __forceinline__ std::int64_t steps_before(const Args& a) {
  return a.step ? count_up(a.step) : 0;
}

template <class Optimizer, int V>
__global__ void __launch_bounds__(block) optimizer_step(typename Optimizer::Args a) {
  SHARED(Optimizer, made, [1]);
  if (threadIdx.x == 0) made[0] = Optimizer::make(a, steps_before(a));
  __syncthreads();
  const Optimizer optimizer = made[0];
  const std::int64_t thread = blockIdx.x * std::int64_t{block} + threadIdx.x,
                     step = gridDim.x * std::int64_t{block};
  const std::int64_t packs = a.n / V, rest = packs * V + thread;
  for (std::int64_t p = thread; p < packs; p += step) optimizer.template step<V>(a, p * V);
  if (V > 1 && rest < a.n) optimizer.template step<1>(a, rest);
}

template <class Optimizer>
void launch_step(const Stream& stream, const typename Optimizer::Args& a, bool packs) {
  constexpr int V = per_16_bytes<typename Optimizer::Number>;
  // One at least, which counts the step.
  const unsigned blocks = grid_for(stream, packs ? ceil_div(a.n, V) : a.n, block, 8);
  if (packs)
    launch_grid<block>(stream, optimizer_step<Optimizer, V>, blocks, a);
  else
    launch_grid<block>(stream, optimizer_step<Optimizer, 1>, blocks, a);
}

// packs: whether all arrays start at a multiple of 16 bytes; null does.
template <template <class> class Optimizer, class Args>
void run(const Stream& stream, const Args& a, bool packs) {
  if (a.dtype == DType::float32) return launch_step<Optimizer<float>>(stream, a, packs);
  launch_step<Optimizer<double>>(stream, a, packs);
}

// --- the sum of squares, in double: blocks of at most `piece` elements of one array, then their sums, in
// order

constexpr std::int64_t least_piece = 16384, most_pieces = 1024;

struct Pieces {
  AddSquaresArgs a;
  std::int64_t piece;
  int begin[AddSquaresArgs::most + 1];  // the first block of each array
  double* sums;                         // of the blocks; null: there is one block
};

__device__ __forceinline__ void store_total(const AddSquaresArgs& a, double sum) {
  if (!a.first) sum += a.total[0];
  a.total[0] = a.last ? ::sqrt(sum) : sum;
}

template <class T, int V>
__global__ void __launch_bounds__(block) sum_squares(Pieces p) {
  int array = 0;
  while (static_cast<int>(blockIdx.x) >= p.begin[array + 1]) ++array;
  const auto* x = static_cast<const T*>(p.a.parts[array].x);
  const std::int64_t n = p.a.parts[array].n,
                     begin = (static_cast<int>(blockIdx.x) - p.begin[array]) * p.piece,
                     end = begin + p.piece < n ? begin + p.piece : n;
  const std::int64_t whole = begin + (end - begin) / V * V;
  double sum = 0;
#pragma unroll 4
  for (std::int64_t i = begin + threadIdx.x * V; i < whole; i += block * V) {
    const Pack<T, V> pack = load_pack<T, V>(x + i);
#pragma unroll
    for (int v = 0; v < V; ++v) sum += static_cast<double>(pack.v[v]) * static_cast<double>(pack.v[v]);
  }
  if (const std::int64_t i = whole + threadIdx.x; V > 1 && i < end)
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  sum = block_reduce<Sum<double>, block>(sum);
  if (threadIdx.x != 0) return;
  if (p.sums)
    p.sums[blockIdx.x] = sum;
  else
    store_total(p.a, sum);
}

__global__ void __launch_bounds__(block) add_pieces(AddSquaresArgs a, int count, const double* sums) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += block) sum += sums[i];
  sum = block_reduce<Sum<double>, block>(sum);
  if (threadIdx.x == 0) store_total(a, sum);
}

template <class T>
void sum_squares_of(const Stream& stream, const AddSquaresArgs& a) {
  std::int64_t longest = 0;
  bool packs = true;
  for (int i = 0; i < a.count; ++i) {
    longest = longest < a.parts[i].n ? a.parts[i].n : longest;
    packs = packs && aligned(a.parts[i].x);
  }
  const std::int64_t piece = ceil_div(longest, most_pieces);
  Pieces p{a, piece < least_piece ? least_piece : ceil_div(piece, 64) * 64, {}, nullptr};
  for (int i = 0; i < a.count; ++i)
    p.begin[i + 1] = p.begin[i] + static_cast<int>(ceil_div(a.parts[i].n, p.piece));
  const int pieces = p.begin[a.count];
  const Workspace sums(stream, pieces > 1 ? static_cast<std::size_t>(pieces) * sizeof(double) : 0);
  if (pieces > 1) p.sums = sums.data<double>();
  const auto kernel = packs ? &sum_squares<T, per_16_bytes<T>> : &sum_squares<T, 1>;
  launch_grid<block>(stream, kernel, static_cast<unsigned>(pieces), p);
  if (p.sums) launch_grid<block>(stream, add_pieces, 1, a, pieces, p.sums);
}

}  // namespace

void sgd_step(Stream& stream, const SgdArgs& a) {
  run<Sgd>(stream, a, aligned(a.param) && aligned(a.grad) && aligned(a.momentum_buffer));
}
void adagrad_step(Stream& stream, const AdagradArgs& a) {
  run<Adagrad>(stream, a, aligned(a.param) && aligned(a.grad) && aligned(a.square_sum));
}
void rmsprop_step(Stream& stream, const RmspropArgs& a) {
  run<Rmsprop>(stream, a,
               aligned(a.param) && aligned(a.grad) && aligned(a.square_average) && aligned(a.grad_average) &&
                   aligned(a.momentum_buffer));
}
void adam_step(Stream& stream, const AdamArgs& a) {
  run<Adam>(stream, a,
            aligned(a.param) && aligned(a.grad) && aligned(a.first_moment) && aligned(a.second_moment));
}
void clip_scale(Stream& stream, const ClipScaleArgs& a) { run<ClipScale>(stream, a, aligned(a.grad)); }

void add_squares(Stream& stream, const AddSquaresArgs& a) {
  a.dtype == DType::float32 ? sum_squares_of<float>(stream, a) : sum_squares_of<double>(stream, a);
}

}  // namespace weft::cuda
