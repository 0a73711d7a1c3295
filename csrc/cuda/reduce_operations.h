// What a reduction does with an element: the partial result, how an element enters it, how two of them join,
// and what becomes of the last one.
//
// Partial results are double for floating sums and products, uint64 for those of integers (they wrap around),
// the element's type for extremes, and that with its number for positions. They do not depend on the order
// but for rounding.
#pragma once
#include <type_traits>

#include "cuda/device/device.h"
#include "ops/reduce.h"

namespace weft::cuda {

// What becomes of finished results: values in the result's dtype, or, in the first pass of a variance, means;
// the second pass reads these.
struct Finish {
  ReduceOp op;
  void* out;
  double* means;
  double terms, inverse_terms, degrees;
};

// What an element is seen through.
struct Lens {
  double mean;  // the second pass of a variance takes the distances to it
  bool turned;  // least elements are the largest ones in the order turned around
};

template <class T>
constexpr bool is_real = std::is_floating_point_v<Wide<T>>;
template <class T>
using Accumulator = std::conditional_t<is_real<T>, double, unsigned long long>;

template <class T>
__device__ Accumulator<T> widened(T x) {
  return static_cast<Accumulator<T>>(static_cast<Wide<T>>(x));
}

template <class T>
struct Total {
  using Element = T;
  using Part = Accumulator<T>;
  static constexpr bool squares = false, packs = is_real<T>;
  __device__ static Part identity() { return 0; }
  __device__ static Part combine(Part a, Part b) { return a + b; }
  __device__ static Part take(Part part, T x, std::int64_t, Lens) { return part + widened(x); }
  __device__ static void finish(const Finish& f, std::int64_t i, Part part) {
    if constexpr (is_real<T>) {
      if (f.op == ReduceOp::var && f.means) {
        f.means[i] = part / f.terms;
        return;
      }
      static_cast<T*>(f.out)[i] = static_cast<T>(f.op == ReduceOp::mean ? part / f.terms : part);
    } else {
      static_cast<std::int64_t*>(f.out)[i] = static_cast<std::int64_t>(part);
    }
  }
};

// sum_squares, and the second pass of a variance.
template <class T>
struct Squares : Total<T> {
  static constexpr bool squares = true;
  __device__ static double take(double part, T x, std::int64_t, Lens lens) {
    const double distance = widened(x) - lens.mean;
    return part + distance * distance;
  }
  __device__ static void finish(const Finish& f, std::int64_t i, double part) {
    if (f.op == ReduceOp::var) part = f.degrees > 0 ? part / f.degrees : __builtin_nan("");
    static_cast<T*>(f.out)[i] = static_cast<T>(part);
  }
};

template <class T>
struct Product : Total<T> {
  using Part = Accumulator<T>;
  __device__ static Part identity() { return 1; }
  __device__ static Part combine(Part a, Part b) { return a * b; }
  __device__ static Part take(Part part, T x, std::int64_t, Lens) { return part * widened(x); }
};

// The order of numbers turned around, its own inverse.
template <class T>
__device__ T turned_around(T x) {
  if constexpr (std::is_floating_point_v<T>)
    return -x;
  else
    return static_cast<T>(~x);
}

// The larger one; of equal ones, and of two NaNs, the first.
template <class T>
__device__ bool takes_over(T best, T other) {
  return best == best && !(other <= best);
}

template <class T>
__device__ T lowest() {
  if constexpr (std::is_same_v<T, float>)
    return -__builtin_huge_valf();
  else if constexpr (std::is_same_v<T, double>)
    return -__builtin_huge_val();
  else
    return std::is_unsigned_v<T> ? T(0) : static_cast<T>(T(1) << (sizeof(T) * 8 - 1));
}

template <class T>
struct Extreme {
  using Element = T;
  using Part = T;
  static constexpr bool squares = false, packs = is_real<T>;
  __device__ static T identity() { return lowest<T>(); }
  __device__ static T combine(T a, T b) { return takes_over(a, b) ? b : a; }
  __device__ static T take(T part, T x, std::int64_t, Lens lens) {
    return combine(part, lens.turned ? turned_around(x) : x);
  }
  __device__ static void finish(const Finish& f, std::int64_t i, T part) {
    static_cast<T*>(f.out)[i] = f.op == ReduceOp::min ? turned_around(part) : part;
  }
};

// Where the extreme is: the first of equal ones, or the first NaN. Moved by one instruction.
template <class T>
struct alignas(16) Place {
  long long at;  // -1: nowhere yet
  T value;
};
template <class T>
struct Position {
  using Element = T;
  using Value = std::conditional_t<sizeof(T) < 4, int, T>;  // whole words, as shuffles have it
  using Part = Place<Value>;
  static constexpr bool squares = false, packs = is_real<T>;
  __device__ static Part identity() { return {-1, 0}; }
  __device__ static Part combine(Part a, Part b) {
    if (a.at < 0) return b;
    if (b.at < 0) return a;
    const bool in_order = a.at < b.at;
    const Part first = in_order ? a : b, second = in_order ? b : a;
    return takes_over(first.value, second.value) ? second : first;
  }
  __device__ static Part take(Part part, T x, std::int64_t i, Lens lens) {
    const Value value = lens.turned ? turned_around(x) : x;
    return part.at < 0 || takes_over(part.value, value) ? Part{i, value} : part;
  }
  __device__ static void finish(const Finish& f, std::int64_t i, Part part) {
    static_cast<std::int64_t*>(f.out)[i] = part.at;
  }
};

// Whether there is an element other than 0 (bit 0), and whether there is a 0 (bit 1).
template <class T>
struct Truth {
  using Element = T;
  using Part = int;
  static constexpr bool squares = false, packs = is_real<T>;
  __device__ static int identity() { return 0; }
  __device__ static int combine(int a, int b) { return a | b; }
  __device__ static int take(int part, T x, std::int64_t, Lens) { return part | (x != T(0) ? 1 : 2); }
  __device__ static void finish(const Finish& f, std::int64_t i, int part) {
    static_cast<bool*>(f.out)[i] = f.op == ReduceOp::any ? (part & 1) != 0 : (part & 2) == 0;
  }
};

}  // namespace weft::cuda
