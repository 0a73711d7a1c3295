// Reductions; the definitions are in ops/reduce.h.
#include <cmath>
#include <limits>
#include <type_traits>

#include "reference/kernels.h"

namespace weft::reference {

namespace {

// Steps `index` through `shape` in row-major order, and the offset with it; false after the last element.
bool next(int ndim, const std::int64_t* shape, const std::int64_t* strides, std::int64_t* index,
          std::int64_t& offset) {
  for (int axis = ndim - 1; axis >= 0; --axis) {
    offset += strides[axis];
    if (++index[axis] < shape[axis]) return true;
    offset -= shape[axis] * strides[axis];
    index[axis] = 0;
  }
  return false;
}

std::int64_t count(int ndim, const std::int64_t* shape) {
  std::int64_t n = 1;
  for (int i = 0; i < ndim; ++i) n *= shape[i];
  return n;
}

// f(element, its number) for each element that goes into one result.
template <class T, class F>
void for_each(const ReduceArgs& a, const T* x, F&& f) {
  if (count(a.reduced_ndim, a.reduced_shape) == 0) return;
  std::int64_t index[max_rank] = {}, offset = 0, i = 0;
  do f(x[offset], i++);
  while (next(a.reduced_ndim, a.reduced_shape, a.reduced_strides, index, offset));
}

// Floating sums are kept in double, those of integers in int64.
template <class T>
using Sum = std::conditional_t<std::is_floating_point_v<Wide<T>>, double, std::uint64_t>;

template <class T>
Sum<T> total(const ReduceArgs& a, const T* x) {
  Sum<T> sum = a.op == ReduceOp::prod ? 1 : 0;
  for_each(a, x, [&](T value, std::int64_t) {
    const auto v = static_cast<Sum<T>>(value);
    if (a.op == ReduceOp::prod)
      sum *= v;
    else
      sum += a.op == ReduceOp::sum_squares ? v * v : v;
  });
  return sum;
}

template <class T>
double variance(const ReduceArgs& a, const T* x, double n) {
  const double mean = static_cast<double>(total(a, x)) / n;
  double squares = 0;
  for_each(a, x, [&](T value, std::int64_t) {
    const double difference = static_cast<double>(value) - mean;
    squares += difference * difference;
  });
  const double degrees = n - a.correction;
  return degrees > 0 ? squares / degrees : std::numeric_limits<double>::quiet_NaN();
}

// The first extreme element, or the first NaN.
template <class T>
std::int64_t extreme(const ReduceArgs& a, const T* x, T& best) {
  const bool largest = a.op == ReduceOp::max || a.op == ReduceOp::argmax;
  std::int64_t at = -1;
  for_each(a, x, [&](T value, std::int64_t i) {
    if (at >= 0 && (best != best || (largest ? value <= best : value >= best))) return;
    best = value;
    at = i;
  });
  return at;
}

template <class T>
bool truth(const ReduceArgs& a, const T* x) {
  bool found = false;  // a true element for any, a false one for all
  for_each(a, x, [&](T value, std::int64_t) { found |= (value != T(0)) == (a.op == ReduceOp::any); });
  return found == (a.op == ReduceOp::any);
}

template <class T>
void reduce_one(const ReduceArgs& a, const T* x, std::int64_t i) {
  switch (a.op) {
    case ReduceOp::any:
    case ReduceOp::all: static_cast<bool*>(a.out)[i] = truth(a, x); return;
    case ReduceOp::argmax:
    case ReduceOp::argmin: {
      T best{};
      static_cast<std::int64_t*>(a.out)[i] = extreme(a, x, best);
      return;
    }
    case ReduceOp::max:
    case ReduceOp::min: extreme(a, x, static_cast<T*>(a.out)[i]); return;
    default: break;
  }
  if constexpr (std::is_floating_point_v<Wide<T>>) {
    const auto n = static_cast<double>(count(a.reduced_ndim, a.reduced_shape));
    const double value = a.op == ReduceOp::var ? variance(a, x, n) : total(a, x);
    static_cast<T*>(a.out)[i] = static_cast<T>(a.op == ReduceOp::mean ? value / n : value);
  } else {
    static_cast<std::int64_t*>(a.out)[i] = static_cast<std::int64_t>(total(a, x));
  }
}

}  // namespace

void reduce(Stream&, const ReduceArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto* x = static_cast<const T*>(a.x);
    std::int64_t index[max_rank] = {}, offset = 0, i = 0;
    do reduce_one(a, x + offset, i++);
    while (next(a.kept_ndim, a.kept_shape, a.kept_strides, index, offset));
  });
}

}  // namespace weft::reference
