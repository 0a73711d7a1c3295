#include "cpu/reduce_loops.h"

namespace weft::cpu::WEFT_ISA {

namespace {

// What sums are kept in, and the type of the result.
template <class T>
struct Wide {
  using type = std::uint64_t;
  using total = std::int64_t;
  static constexpr bool floating = false;
};
template <>
struct Wide<float> {
  using type = double;
  using total = float;
  static constexpr bool floating = true;
};
template <>
struct Wide<double> {
  using type = double;
  using total = double;
  static constexpr bool floating = true;
};

template <>
struct Wide<BFloat16> {
  using type = double;
  using total = BFloat16;
  static constexpr bool floating = true;
};

template <class T>
constexpr T lowest = static_cast<T>(T(1) << (sizeof(T) * 8 - 1));
template <>
constexpr std::uint8_t lowest<std::uint8_t> = 0;
template <>
constexpr float lowest<float> = -__builtin_inff();
template <>
constexpr double lowest<double> = -__builtin_inf();
template <class T>
constexpr T highest = static_cast<T>(~lowest<T>);
template <>
constexpr float highest<float> = __builtin_inff();
template <>
constexpr double highest<double> = __builtin_inf();

template <class T>
struct Sum {
  static constexpr bool centred = false;
  using Part = typename Wide<T>::type;
  static constexpr Part start = 0;
  [[gnu::always_inline]] static Part add(Part p, T x, double) { return p + static_cast<Part>(x); }
  [[gnu::always_inline]] static Part join(Part p, Part q) { return p + q; }
};
template <class T>
struct Product {
  static constexpr bool centred = false;
  using Part = typename Wide<T>::type;
  static constexpr Part start = 1;
  [[gnu::always_inline]] static Part add(Part p, T x, double) { return p * static_cast<Part>(x); }
  [[gnu::always_inline]] static Part join(Part p, Part q) { return p * q; }
};
template <class T>
struct Squares : Sum<T> {
  [[gnu::always_inline]] static double add(double p, T x, double) {
    return p + static_cast<double>(x) * static_cast<double>(x);
  }
};
// Squares of the distances to the mean, which the first pass of a variance has found.
template <class T>
struct Centred : Sum<T> {
  static constexpr bool centred = true;
  [[gnu::always_inline]] static double add(double p, T x, double mean) {
    const double distance = static_cast<double>(x) - mean;
    return p + distance * distance;
  }
};
// A NaN stays: nothing compares with it, and it replaces all.
template <class T>
struct Max {
  static constexpr bool centred = false;
  using Part = T;
  static constexpr Part start = lowest<T>;
  [[gnu::always_inline]] static Part join(Part p, Part q) {
    const Part larger = q > p ? q : p;  // p if it is NaN
    return q != q ? q : larger;
  }
  [[gnu::always_inline]] static Part add(Part p, T x, double) { return join(p, x); }
};
template <class T>
struct Min {
  static constexpr bool centred = false;
  using Part = T;
  static constexpr Part start = highest<T>;
  [[gnu::always_inline]] static Part join(Part p, Part q) {
    const Part smaller = q < p ? q : p;
    return q != q ? q : smaller;
  }
  [[gnu::always_inline]] static Part add(Part p, T x, double) { return join(p, x); }
};
template <class T>
struct Any {
  static constexpr bool centred = false;
  using Part = std::uint8_t;
  static constexpr Part start = 0;
  [[gnu::always_inline]] static Part join(Part p, Part q) { return p | q; }
  [[gnu::always_inline]] static Part add(Part p, T x, double) { return p | static_cast<Part>(x != T(0)); }
};
template <class T>
struct All {
  static constexpr bool centred = false;
  using Part = std::uint8_t;
  static constexpr Part start = 1;
  [[gnu::always_inline]] static Part join(Part p, Part q) { return p & q; }
  [[gnu::always_inline]] static Part add(Part p, T x, double) { return p & static_cast<Part>(x != T(0)); }
};

// Asks for the memory that a group of 64 elements will be read from in a while: joining lanes at the end of a
// row keeps the processor from looking that far ahead by itself.
template <class T>
[[gnu::always_inline]] inline void ask_for(const T* x) {
  constexpr std::int64_t ahead = 2048, line = 64;
  for (std::int64_t at = 0; at < 64 * static_cast<std::int64_t>(sizeof(T)); at += line)
    __builtin_prefetch(reinterpret_cast<const char*>(x) + ahead + at);
}

// The parts of `lanes` elements each, which grow side by side and join at the end, in a fixed order. Returns
// how many elements that took.
template <class Op, class T, std::int64_t lanes>
[[gnu::always_inline]] inline std::int64_t side_by_side(typename Op::Part& part, const T* x, std::int64_t n,
                                                        double mean) {
  typename Op::Part lane[lanes];
#pragma omp simd  // else a loop is unrolled whole before it could become vectors
  for (std::int64_t l = 0; l < lanes; ++l) lane[l] = Op::add(Op::start, x[l], mean);
  std::int64_t i = lanes;
  for (; i + lanes <= n; i += lanes) {
    if constexpr (lanes == 64) ask_for(x + i);
#pragma omp simd
    for (std::int64_t l = 0; l < lanes; ++l) lane[l] = Op::add(lane[l], x[i + l], mean);
  }
  if constexpr (lanes == 64) {
#pragma omp simd
    for (std::int64_t l = 0; l < 32; ++l) lane[l] = Op::join(lane[l], lane[l + 32]);
#pragma omp simd
    for (std::int64_t l = 0; l < 16; ++l) lane[l] = Op::join(lane[l], lane[l + 16]);
  }
  if constexpr (lanes >= 16) {
#pragma omp simd
    for (std::int64_t l = 0; l < 8; ++l) lane[l] = Op::join(lane[l], lane[l + 8]);
    for (std::int64_t l = 0; l < 4; ++l) lane[l] = Op::join(lane[l], lane[l + 4]);
  }
  part = Op::join(part, Op::join(Op::join(lane[0], lane[1]), Op::join(lane[2], lane[3])));
  return i;
}

template <class Op, class T>
[[gnu::always_inline]] inline typename Op::Part contiguous(typename Op::Part part, const T* x, std::int64_t n,
                                                           double mean) {
  std::int64_t i = 0;
  if (n >= 64) i = side_by_side<Op, T, 64>(part, x, n, mean);
  if (n - i >= 16) i += side_by_side<Op, T, 16>(part, x + i, n - i, mean);
  if (n - i >= 4) i += side_by_side<Op, T, 4>(part, x + i, n - i, mean);
  for (; i < n; ++i) part = Op::add(part, x[i], mean);
  return part;
}

template <class Op, class T>
void stretch(void* result, const void* given, std::int64_t n, std::int64_t stride, double mean) {
  const auto* x = static_cast<const T*>(given);
  auto& part = *static_cast<typename Op::Part*>(result);
  if (stride == 1)
    part = contiguous<Op, T>(part, x, n, mean);
  else
    for (std::int64_t i = 0; i < n; ++i) part = Op::add(part, x[i * stride], mean);
}

template <class Op, class T>
void rows(void* results, const void* given, std::int64_t n, std::int64_t count, std::int64_t row_stride,
          const double* means) {
  auto* part = static_cast<typename Op::Part*>(results);
  const auto* x = static_cast<const T*>(given);
  for (std::int64_t r = 0; r < count; ++r, x += row_stride)
    part[r] = contiguous<Op, T>(Op::start, x, n, Op::centred ? means[r] : 0);
}

template <class Op, class T>
void columns(void* results, const void* given, std::int64_t n, std::int64_t stride, std::int64_t rows,
             std::int64_t row_stride, const double* means) {
  auto* part = static_cast<typename Op::Part*>(results);
  const auto* x = static_cast<const T*>(given);
  std::int64_t r = 0;
  if (stride == 1)  // four rows for each visit to the parts
    for (; r + 4 <= rows; r += 4, x += 4 * row_stride) {
      const T *x1 = x + row_stride, *x2 = x1 + row_stride, *x3 = x2 + row_stride;
      for (std::int64_t k = 8; k < 12; ++k)  // rows that come next: they may lie on other pages
        for (std::int64_t j = 0; j < n; j += 64 / static_cast<std::int64_t>(sizeof(T)))
          __builtin_prefetch(x + k * row_stride + j);
#pragma GCC ivdep
      for (std::int64_t j = 0; j < n; ++j) {
        const double mean = Op::centred ? means[j] : 0;
        const auto two = Op::add(Op::add(part[j], x[j], mean), x1[j], mean);
        part[j] = Op::add(Op::add(two, x2[j], mean), x3[j], mean);
      }
    }
  for (; r < rows; ++r, x += row_stride)
#pragma GCC ivdep
    for (std::int64_t j = 0; j < n; ++j)
      part[j] = Op::add(part[j], x[j * stride], Op::centred ? means[j] : 0);
}

template <class Op>
void start(void* results, std::int64_t n) {
  auto* part = static_cast<typename Op::Part*>(results);
  for (std::int64_t j = 0; j < n; ++j) part[j] = Op::start;
}

template <class Op>
void join(void* results, const void* others, std::int64_t n) {
  auto* part = static_cast<typename Op::Part*>(results);
  const auto* other = static_cast<const typename Op::Part*>(others);
  for (std::int64_t j = 0; j < n; ++j) part[j] = Op::join(part[j], other[j]);
}

template <class Part, class Out>
void finish(const Finish& f, std::int64_t first, std::int64_t n, const void* results) {
  const auto* part = static_cast<const Part*>(results);
  auto* out = static_cast<Out*>(f.out) + first;
  if (f.means) {
    for (std::int64_t i = 0; i < n; ++i) f.means[first + i] = static_cast<double>(part[i]) / f.terms;
  } else if (f.op == ReduceOp::mean || f.op == ReduceOp::var) {
    const double divisor = f.op == ReduceOp::mean ? f.terms : f.degrees > 0 ? f.degrees : __builtin_nan("");
    for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<Out>(static_cast<double>(part[i]) / divisor);
  } else {
    for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<Out>(part[i]);
  }
}

template <class Op, class T, class Out>
const ReduceLoops* loops() {
  using Part = typename Op::Part;
  static constexpr ReduceLoops found = {sizeof(Part),   start<Op>, stretch<Op, T>,   rows<Op, T>,
                                        columns<Op, T>, join<Op>,  finish<Part, Out>};
  return &found;
}

template <class T>
const ReduceLoops* find_loops(ReduceOp op, bool centred) {
  using Total = typename Wide<T>::total;
  switch (op) {
    case ReduceOp::max: return loops<Max<T>, T, T>();
    case ReduceOp::min: return loops<Min<T>, T, T>();
    case ReduceOp::any: return loops<Any<T>, T, std::uint8_t>();
    case ReduceOp::all: return loops<All<T>, T, std::uint8_t>();
    case ReduceOp::prod: return loops<Product<T>, T, Total>();
    case ReduceOp::sum_squares:
      if constexpr (Wide<T>::floating) return loops<Squares<T>, T, Total>();
      break;
    case ReduceOp::var:
      if constexpr (Wide<T>::floating)
        if (centred) return loops<Centred<T>, T, Total>();
      break;
    default: break;
  }
  return loops<Sum<T>, T, Total>();  // sum, mean, and a variance's first pass
}

// Sums alone: the rest of the reductions of bfloat16 are those of float32 (ops/reduce.cpp).
const ReduceLoops* find_bfloat16_loops(ReduceOp op, bool centred) {
  using T = BFloat16;
  if (op == ReduceOp::sum_squares) return loops<Squares<T>, T, T>();
  if (op == ReduceOp::var && centred) return loops<Centred<T>, T, T>();
  return loops<Sum<T>, T, T>();
}

template <class Op, class T>
bool better(const void* best, const void* other) {
  const T p = *static_cast<const T*>(best), q = *static_cast<const T*>(other);
  return (p == p) & (Op::join(p, q) != p);
}

template <class T>
std::int64_t find(const void* best, const void* given, std::int64_t n, std::int64_t stride) {
  const T wanted = *static_cast<const T*>(best);
  const auto* x = static_cast<const T*>(given);
  std::int64_t i = 0;
  // Whole groups are looked at without a branch for each element.
  for (constexpr std::int64_t group = 64; stride == 1 && i + group <= n; i += group) {
    int hits = 0;
    for (std::int64_t l = 0; l < group; ++l) hits |= (x[i + l] == wanted) | (x[i + l] != x[i + l]);
    if (!hits) continue;
    std::int32_t first = group;
    for (std::int32_t l = 0; l < group; ++l) {
      const std::int32_t here = (x[i + l] == wanted) | (x[i + l] != x[i + l]) ? l : group;
      first = here < first ? here : first;
    }
    return i + first;
  }
  for (; i < n; ++i)
    if (x[i * stride] == wanted || x[i * stride] != x[i * stride]) return i;
  return -1;
}

template <class Op, class T>
void position_columns(void* results, std::int64_t* at, const void* given, std::int64_t n, std::int64_t stride,
                      std::int64_t rows, std::int64_t row_stride, std::int64_t first) {
  auto* best = static_cast<T*>(results);
  const auto* x = static_cast<const T*>(given);
  for (std::int64_t r = 0; r < rows; ++r, x += row_stride)
    for (std::int64_t j = 0; j < n; ++j) {
      const T winner = Op::join(best[j], x[j * stride]);
      const bool change = (winner != best[j]) & (best[j] == best[j]);
      at[j] = change ? first + r : at[j];
      best[j] = change ? winner : best[j];
    }
}

template <class Op, class T>
const PositionLoops* position_loops() {
  static constexpr PositionLoops found = {better<Op, T>, find<T>, position_columns<Op, T>};
  return &found;
}

template <class T>
const PositionLoops* find_position(ReduceOp op) {
  return op == ReduceOp::argmax ? position_loops<Max<T>, T>() : position_loops<Min<T>, T>();
}

}  // namespace

// A bool is a byte of 0 or 1.
const ReduceLoops* find_reduce_loops(ReduceOp op, DType dtype, bool centred) {
  switch (dtype) {
    case DType::float32: return find_loops<float>(op, centred);
    case DType::float64: return find_loops<double>(op, centred);
    case DType::bfloat16: return find_bfloat16_loops(op, centred);
    case DType::int64: return find_loops<std::int64_t>(op, centred);
    case DType::int32: return find_loops<std::int32_t>(op, centred);
    default: return find_loops<std::uint8_t>(op, centred);
  }
}

const PositionLoops* find_position_loops(ReduceOp op, DType dtype) {
  switch (dtype) {
    case DType::float32: return find_position<float>(op);
    case DType::float64: return find_position<double>(op);
    case DType::int64: return find_position<std::int64_t>(op);
    case DType::int32: return find_position<std::int32_t>(op);
    default: return find_position<std::uint8_t>(op);
  }
}

}  // namespace weft::cpu::WEFT_ISA
