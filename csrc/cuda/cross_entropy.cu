// Softmax cross-entropy with its gradient; the formulas are in ops/loss.h.
//
//   cross_entropy_rows     the classes are last, and not many: a row of logits lies in the registers of 8, 32
//                          or 256 threads; they are read once, and the gradient is written once.
//   cross_entropy_columns  any other: neighbouring threads take neighbouring rows, class by class. The
//                          largest logit and the sum of the exponentials in one pass, the loss in a second
//                          one, the gradient in a third one; these find most of the logits in the cache.
//
// What `mean` divides by is known before: each block sums the weights of all targets where these are few,
// else a kernel of its own does. The losses of a block are summed in double, and the blocks' sums in order by
// a last kernel; one block writes the loss itself, so that a small batch is one launch.
//
// A label out of range counts as ignored: no weight and no logit is read for it. Of few targets the first
// block finds the first such one, else launches of their own do. Bytes of a float32 logit: 4, with the
// gradient 8.
#include "cuda/check_elements.h"
#include "cuda/device/columns.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = row_block;
constexpr std::int64_t most_blocks = 1024, few_targets = 8192, most_counts = 256;

// What all rows share, on the device.
template <class T>
struct Problem {
  CrossEntropyArgs a;
  std::int64_t rows;
  double known_total;  // what `mean` divides by, where the targets are probabilities
  const double* counts;
  int count_parts;   // of `counts`; 0: each block counts by itself
  double* parts;     // a sum for each block, or null: there is one block
  Finding* finding;  // for a target that is no class; null: that is looked for elsewhere

  // All threads of the block call it.
  __device__ void check_targets() const {
    if (!finding || blockIdx.x != 0) return;
    ElementIndex first = no_finding;
    for (std::int64_t row = threadIdx.x; row < rows && first == no_finding; row += block)
      if (!is_good(a.check, row)) first = static_cast<ElementIndex>(row);
    first = block_reduce<SmallerIndex, block>(first);
    if (threadIdx.x == 0 && first != no_finding) tell(a.check, first, finding);
  }
  __device__ bool counted(std::int64_t row) const {
    const std::int64_t t = a.target[row];
    return t != a.ignore_index && t >= 0 && t < a.C;
  }
  __device__ T weight_of(std::int64_t c) const {
    return a.weight ? static_cast<const T*>(a.weight)[c] : T(1);
  }
  // The weights of the targets from `first` on in steps.
  __device__ double count(std::int64_t first, std::int64_t end, std::int64_t step) const {
    double sum = 0;
    for (std::int64_t row = first; row < end; row += step)
      if (counted(row)) sum += static_cast<double>(weight_of(a.target[row]));
    return sum;
  }
  // What `mean` divides by; all threads of the block call it.
  __device__ double total() const {
    if (a.reduction != Reduction::mean) return 1;
    if (!a.target) return known_total;
    double sum = 0;
    if (count_parts > 0)
      sum = static_cast<int>(threadIdx.x) < count_parts ? counts[threadIdx.x] : 0;
    else
      sum = count(threadIdx.x, rows, block);
    return block_reduce<Sum<double>, block>(sum);
  }
  // Adds up the threads' losses.
  __device__ void finish(double loss, double total) const {
    if (a.reduction == Reduction::none) return;  // of all threads
    loss = block_reduce<Sum<double>, block>(loss);
    if (threadIdx.x != 0) return;
    if (parts)
      parts[blockIdx.x] = loss;
    else
      *static_cast<T*>(a.out) = static_cast<T>(loss / total);
  }
};

// The weight of class c in the loss of one row: sum over c of f(c) * -log softmax_c.
template <class T>
struct Factor {
  const Problem<T>& p;
  std::int64_t target;  // -1: by probabilities
  const T* probabilities;
  T own, even;

  __device__ Factor(const Problem<T>& problem, std::int64_t row, std::int64_t start)
      : p(problem),
        target(p.a.target ? p.a.target[row] : -1),
        probabilities(p.a.target ? nullptr : static_cast<const T*>(p.a.probabilities) + start),
        own(static_cast<T>(1 - p.a.label_smoothing)),
        even(static_cast<T>(p.a.label_smoothing / static_cast<double>(p.a.C))) {}
  __device__ T operator()(std::int64_t c) const {
    const T q = probabilities ? probabilities[c * p.a.inner] : c == target ? T(1) : T(0);
    return (own * q + even) * p.weight_of(c);
  }
};

// A factor of 0 takes the logit out, even where that is infinite.
template <class T>
__device__ Pair loss_and_factor(T factor, T minus_log_softmax) {
  return {factor != 0 ? static_cast<double>(factor * minus_log_softmax) : 0.0, static_cast<double>(factor)};
}

template <class T, class Shape>
__global__ void __launch_bounds__(block, Shape::K <= 8 ? 2 : 1) cross_entropy_rows(Problem<T> p) {
  p.check_targets();
  const double total = p.total();
  const T share = static_cast<T>(1 / total);
  const std::int64_t step = gridDim.x * std::int64_t{Shape::rows};
  double losses = 0;
#pragma unroll 1
  for (std::int64_t first = blockIdx.x * std::int64_t{Shape::rows}; first < p.rows; first += step) {
    const std::int64_t row = first + threadIdx.x / Shape::Threads, start = row * p.a.C;
    const bool exists = row < p.rows;
    const int n = exists ? static_cast<int>(p.a.C) : 0;
    T x[Shape::K], e[Shape::K];
    Shape::load(x, static_cast<const T*>(p.a.logits) + start, n);
    T largest = Larger<T>::identity();
#pragma unroll
    for (int k = 0; k < Shape::K; ++k)
      if (Shape::place(k) < n) largest = Larger<T>::combine(largest, x[k]);
    largest = Shape::template reduce<Larger<T>>(largest);
    double sum = 0;
#pragma unroll
    for (int k = 0; k < Shape::K; ++k) {
      if (Shape::place(k) >= n) continue;
      x[k] -= largest;
      e[k] = math::exp(x[k]);
      sum += static_cast<double>(e[k]);
    }
    sum = Shape::template reduce<Sum<double>>(sum);
    const T log_sum = static_cast<T>(math::log(sum)), inverse = static_cast<T>(1 / sum);
    const Factor<T> factor(p, exists ? row : 0, exists ? start : 0);
    const bool counts = exists && (!p.a.target || p.counted(row));
    Pair own = {0, 0};
#pragma unroll
    for (int k = 0; k < Shape::K; ++k)
      if (counts && Shape::place(k) < n)
        own = Sum<Pair>::combine(own, loss_and_factor<T>(factor(Shape::place(k)), log_sum - x[k]));
    own = Shape::template reduce<Sum<Pair>>(own);
    if (exists && threadIdx.x % Shape::Threads == 0) {
      losses += own.first;
      if (p.a.reduction == Reduction::none) static_cast<T*>(p.a.out)[row] = static_cast<T>(own.first);
    }
    if (!p.a.dlogits) continue;  // of all threads
    const T scale = share * static_cast<T>(own.second) * inverse;
#pragma unroll
    for (int k = 0; k < Shape::K; ++k)
      if (Shape::place(k) < n) e[k] = counts ? scale * e[k] - share * factor(Shape::place(k)) : T(0);
    Shape::store(static_cast<T*>(p.a.dlogits) + start, e, n);
  }
  p.finish(losses, total);
}

template <class T>
__global__ void __launch_bounds__(block, 2) cross_entropy_columns(Problem<T> p, Columns c) {
  p.check_targets();
  const double total = p.total();
  const T share = static_cast<T>(1 / total);
  const auto* logits = static_cast<const T*>(p.a.logits);
  double losses = 0;
  for (std::int64_t tile = blockIdx.x; tile < c.tiles; tile += gridDim.x) {
    const auto [start, row, exists] = c.place(tile);
    const std::int64_t n = exists ? c.n : 0;
    Online<T> all = JoinOnline<T>::identity();
#pragma unroll 2
    for (std::int64_t i = c.first_row(); i < n; i += c.rows())
      all = JoinOnline<T>::add(all, logits[start + i * c.inner]);
    all = column_reduce<JoinOnline<T>, row_block>(all, c.across);
    all.sum += static_cast<double>(all.largest - all.largest);  // plus infinity: NaN
    const T log_sum = static_cast<T>(math::log(all.sum)), inverse = static_cast<T>(1 / all.sum);
    const Factor<T> factor(p, exists ? row : 0, exists ? start : 0);
    const bool counts = exists && (!p.a.target || p.counted(row));
    Pair own = {0, 0};
    if (p.a.target && factor.even == 0) {  // one class alone
      if (counts && factor.target % c.rows() == c.first_row()) {
        const T minus_log = log_sum - (logits[start + factor.target * c.inner] - all.largest);
        own = loss_and_factor<T>(factor(factor.target), minus_log);
      }
    } else {
      for (std::int64_t i = c.first_row(); counts && i < n; i += c.rows())
        own = Sum<Pair>::combine(
            own, loss_and_factor<T>(factor(i), log_sum - (logits[start + i * c.inner] - all.largest)));
    }
    own = column_reduce<Sum<Pair>, row_block>(own, c.across);
    if (exists && c.first_row() == 0) {
      losses += own.first;
      if (p.a.reduction == Reduction::none) static_cast<T*>(p.a.out)[row] = static_cast<T>(own.first);
    }
    if (!p.a.dlogits) continue;  // of all threads
    const T scale = share * static_cast<T>(own.second) * inverse;
    for (std::int64_t i = c.first_row(); i < n; i += c.rows()) {
      const std::int64_t at = start + i * c.inner;
      static_cast<T*>(p.a.dlogits)[at] =
          counts ? scale * math::exp(logits[at] - all.largest) - share * factor(i) : T(0);
    }
  }
  p.finish(losses, total);
}

// The weights of many targets, a sum for each block.
template <class T>
__global__ void __launch_bounds__(block) count_targets(Problem<T> p, std::int64_t piece, double* counts) {
  const std::int64_t begin = blockIdx.x * piece, end = begin + piece < p.rows ? begin + piece : p.rows;
  const double sum = block_reduce<Sum<double>, block>(p.count(begin + threadIdx.x, end, block));
  if (threadIdx.x == 0) counts[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(block) cross_entropy_total(Problem<T> p, int count) {
  const double total = p.total();
  double loss = 0;
  for (int i = threadIdx.x; i < count; i += block) loss += p.parts[i];
  loss = block_reduce<Sum<double>, block>(loss);
  if (threadIdx.x == 0) *static_cast<T*>(p.a.out) = static_cast<T>(loss / total);
}

unsigned at_most(std::int64_t blocks, std::int64_t most) {
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < most ? blocks : most);
}

template <class T>
void forward(Stream& stream, const CrossEntropyArgs& a, Finding* finding) {
  const std::int64_t rows = a.N * a.inner;
  Problem<T> p{a, rows, static_cast<double>(rows), nullptr, 0, nullptr, finding};
  if (finding && rows > few_targets) {
    find_bad_value(stream, a.check, finding);
    p.finding = nullptr;
  }
  const bool counting = a.reduction == Reduction::mean && a.target && rows > few_targets;
  const Workspace counts(stream, counting ? most_counts * sizeof(double) : 0);
  if (counting) {
    const std::int64_t piece = ceil_div(rows, most_counts);
    const auto pieces = static_cast<unsigned>(ceil_div(rows, piece));
    launch_grid<block>(stream, count_targets<T>, pieces, p, piece, counts.data<double>());
    p.counts = counts.data<double>();
    p.count_parts = static_cast<int>(pieces);
  }
  const Workspace parts(stream, a.reduction == Reduction::none ? 0 : most_blocks * sizeof(double));
  unsigned blocks = 1;
  const auto use_blocks = [&](unsigned wanted) {
    blocks = wanted;
    p.parts = a.reduction != Reduction::none && blocks > 1 ? parts.data<double>() : nullptr;
  };
  const auto by_rows = [&]<class Shape>(Shape) {
    // A few rows for each thread in one block cost less than a second launch.
    use_blocks(rows <= 4 * Shape::rows ? 1 : at_most(ceil_div(rows, Shape::rows), most_blocks));
    launch_grid<block>(stream, cross_entropy_rows<T, Shape>, blocks, p);
  };
  const bool packs = aligned(a.logits) && aligned(a.dlogits);
  if (a.inner != 1 || !with_row_shape_of<T, 16>(rows, a.C, packs, by_rows)) {
    const Columns c(a.N, a.C, a.inner);
    use_blocks(at_most(c.tiles, most_blocks));
    launch_grid<block>(stream, cross_entropy_columns<T>, blocks, p, c);
  }
  if (p.parts) launch_grid<block>(stream, cross_entropy_total<T>, 1, p, static_cast<int>(blocks));
}

// --- backward: dlogits times the gradient of the loss

template <class T, int V>
__global__ void __launch_bounds__(block)
    scale_gradient(std::int64_t n, T* out, const T* dlogits, const T* dout) {
  const T scale = *dout;
  if (scale == 1 && out == dlogits) return;
  const std::int64_t thread = blockIdx.x * std::int64_t{block} + threadIdx.x,
                     step = gridDim.x * std::int64_t{block};
  const std::int64_t packs = n / V, rest = packs * V + thread;
  for (std::int64_t p = thread; p < packs; p += step) {
    Pack<T, V> pack = load_pack<T, V>(dlogits + p * V);
#pragma unroll
    for (int v = 0; v < V; ++v) pack.v[v] *= scale;
    store_pack<T, V>(out + p * V, pack);
  }
  if (V > 1 && rest < n) out[rest] = dlogits[rest] * scale;
}

template <class T>
__global__ void __launch_bounds__(block) scale_rows(std::int64_t n, WideDivider inner, WideDivider classes,
                                                    T* out, const T* dlogits, const T* dout) {
  const std::int64_t step = gridDim.x * std::int64_t{block};
  for (std::int64_t i = blockIdx.x * std::int64_t{block} + threadIdx.x; i < n; i += step) {
    std::int64_t image = i;
    const std::int64_t column = inner.split(image);
    classes.split(image);
    out[i] = dlogits[i] * dout[image * inner.number + column];
  }
}

template <class T>
void backward(const Stream& stream, const CrossEntropyBackwardArgs& a) {
  constexpr int V = per_16_bytes<T>;
  const std::int64_t n = a.N * a.C * a.inner;
  auto* out = static_cast<T*>(a.out);
  const auto *dlogits = static_cast<const T*>(a.dlogits), *dout = static_cast<const T*>(a.dout);
  if (a.reduction == Reduction::none)
    launch_over<block>(stream, scale_rows<T>, n, n, WideDivider(a.inner, n), WideDivider(a.C, n), out,
                       dlogits, dout);
  else if (aligned(out) && aligned(dlogits))
    launch_over<block>(stream, scale_gradient<T, V>, ceil_div(n, V), n, out, dlogits, dout);
  else
    launch_over<block>(stream, scale_gradient<T, 1>, n, n, out, dlogits, dout);
}

}  // namespace

void cross_entropy_forward(Stream& stream, const CrossEntropyArgs& a) {
  if (a.N * a.inner == 0 && a.reduction == Reduction::none) return;
  Finding* const finding = a.check.count > 0 ? begin_check(a.check) : nullptr;
  a.dtype == DType::float32 ? forward<float>(stream, a, finding) : forward<double>(stream, a, finding);
  if (finding) end_check(stream, a.check, finding);
}
void cross_entropy_backward(Stream& stream, const CrossEntropyBackwardArgs& a) {
  a.dtype == DType::float32 ? backward<float>(stream, a) : backward<double>(stream, a);
}

}  // namespace weft::cuda
