// Elementwise arithmetic, comparisons and selection; see ops/elementwise.h. Copies are in copy.cpp.
//
// Each operation and type is one loop over contiguous operands, which the compiler vectorizes; nest.h brings
// operands of any strides there. An operand may be the output itself (never shifted), so no iteration reads
// what another one has written: that is what ivdep says. What has no loop here (whole division, pow of
// integers) is done by the naive kernels.
#include "cpu/kernels.h"
#include "cpu/nest.h"
#include "cpu/simd/math.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

// The type in which integers are added and multiplied: unsigned, where wrapping around is defined.
template <class T>
struct Wrapping {
  using type = T;
};
template <>
struct Wrapping<std::int64_t> {
  using type = std::uint64_t;
};
template <>
struct Wrapping<std::int32_t> {
  using type = std::uint32_t;
};
template <class T>
constexpr bool is_real = false;
template <>
constexpr bool is_real<float> = true;
template <>
constexpr bool is_real<double> = true;

// Functions of a floating number: of simd/math.h where it has them, else of the C library.
template <UnaryOp op>
[[gnu::always_inline]] inline float function(float x) {
  if constexpr (op == UnaryOp::abs) return __builtin_fabsf(x);
  if constexpr (op == UnaryOp::sqrt) return __builtin_sqrtf(x);
  if constexpr (op == UnaryOp::rsqrt) return 1 / __builtin_sqrtf(x);
  if constexpr (op == UnaryOp::floor) return __builtin_floorf(x);
  if constexpr (op == UnaryOp::ceil) return __builtin_ceilf(x);
  if constexpr (op == UnaryOp::round) return __builtin_rintf(x);
  if constexpr (op == UnaryOp::exp) return weft::cpu::WEFT_ISA::exp(x);
  if constexpr (op == UnaryOp::expm1) return weft::cpu::WEFT_ISA::expm1(x);
  if constexpr (op == UnaryOp::log) return weft::cpu::WEFT_ISA::log(x);
  if constexpr (op == UnaryOp::log1p) return weft::cpu::WEFT_ISA::log1p(x);
  if constexpr (op == UnaryOp::sin) return __builtin_sinf(x);
  if constexpr (op == UnaryOp::cos) return __builtin_cosf(x);
  if constexpr (op == UnaryOp::erf) return weft::cpu::WEFT_ISA::erf(x);
}
template <UnaryOp op>
[[gnu::always_inline]] inline double function(double x) {
  if constexpr (op == UnaryOp::abs) return __builtin_fabs(x);
  if constexpr (op == UnaryOp::sqrt) return __builtin_sqrt(x);
  if constexpr (op == UnaryOp::rsqrt) return 1 / __builtin_sqrt(x);
  if constexpr (op == UnaryOp::floor) return __builtin_floor(x);
  if constexpr (op == UnaryOp::ceil) return __builtin_ceil(x);
  if constexpr (op == UnaryOp::round) return __builtin_rint(x);
  if constexpr (op == UnaryOp::exp) return __builtin_exp(x);
  if constexpr (op == UnaryOp::expm1) return __builtin_expm1(x);
  if constexpr (op == UnaryOp::log) return __builtin_log(x);
  if constexpr (op == UnaryOp::log1p) return __builtin_log1p(x);
  if constexpr (op == UnaryOp::sin) return __builtin_sin(x);
  if constexpr (op == UnaryOp::cos) return __builtin_cos(x);
  if constexpr (op == UnaryOp::erf) return __builtin_erf(x);
}

template <UnaryOp op, class T>
[[gnu::always_inline]] inline auto apply(T x, T low, T high) {
  using U = typename Wrapping<T>::type;
  (void)low, (void)high;
  if constexpr (op == UnaryOp::isnan)
    return static_cast<std::uint8_t>(x != x);
  else if constexpr (op == UnaryOp::isfinite)
    return static_cast<std::uint8_t>(is_real<T> ? x - x == 0 : true);
  else if constexpr (op == UnaryOp::logical_not)
    return static_cast<std::uint8_t>(x == 0);
  else if constexpr (op == UnaryOp::neg)
    return is_real<T> ? static_cast<T>(-x) : static_cast<T>(U(0) - static_cast<U>(x));
  else if constexpr (op == UnaryOp::abs && !is_real<T>)
    return static_cast<T>(x < 0 ? U(0) - static_cast<U>(x) : static_cast<U>(x));
  else if constexpr (op == UnaryOp::sign)
    return static_cast<T>(x > 0 ? T(1) : x < 0 ? static_cast<T>(-1) : x);
  else if constexpr (op == UnaryOp::square)
    return static_cast<T>(static_cast<U>(x) * static_cast<U>(x));
  else if constexpr (op == UnaryOp::clip)
    return static_cast<T>(x < low ? low : x > high ? high : x);
  else if constexpr (op == UnaryOp::reciprocal)
    return 1 / x;
  else
    return function<op>(x);
}

template <UnaryOp op, class T>
void unary_loop(void* out, const void* const* in, std::int64_t n, const double* bounds) {
  using Out = decltype(apply<op, T>(T{}, T{}, T{}));
  auto* y = static_cast<Out*>(out);
  const auto* x = static_cast<const T*>(in[0]);
  const T low = static_cast<T>(bounds[0]), high = static_cast<T>(bounds[1]);
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) y[i] = apply<op, T>(x[i], low, high);
}

template <BinaryOp op, class T>
[[gnu::always_inline]] inline auto apply(T a, T b) {
  using U = typename Wrapping<T>::type;
  using Bool = std::uint8_t;
  const U p = static_cast<U>(a), q = static_cast<U>(b);
  if constexpr (op == BinaryOp::add)
    return static_cast<T>(p + q);
  else if constexpr (op == BinaryOp::sub)
    return static_cast<T>(p - q);
  else if constexpr (op == BinaryOp::mul)
    return static_cast<T>(p * q);
  else if constexpr (op == BinaryOp::div)
    return static_cast<T>(a / b);
  else if constexpr (op == BinaryOp::pow)
    return sizeof(T) == 4 ? static_cast<T>(__builtin_powf(static_cast<float>(a), static_cast<float>(b)))
                          : static_cast<T>(__builtin_pow(static_cast<double>(a), static_cast<double>(b)));
  else if constexpr (op == BinaryOp::maximum)  // NaN: a >= b is false, then b; a itself where it is NaN
    return a >= b || a != a ? a : b;
  else if constexpr (op == BinaryOp::minimum)
    return a <= b || a != a ? a : b;
  else if constexpr (op == BinaryOp::eq)
    return static_cast<Bool>(a == b);
  else if constexpr (op == BinaryOp::ne)
    return static_cast<Bool>(a != b);
  else if constexpr (op == BinaryOp::lt)
    return static_cast<Bool>(a < b);
  else if constexpr (op == BinaryOp::le)
    return static_cast<Bool>(a <= b);
  else if constexpr (op == BinaryOp::gt)
    return static_cast<Bool>(a > b);
  else if constexpr (op == BinaryOp::ge)
    return static_cast<Bool>(a >= b);
  else if constexpr (op == BinaryOp::logical_and)
    return static_cast<Bool>((a != 0) & (b != 0));
  else if constexpr (op == BinaryOp::logical_or)
    return static_cast<Bool>((a != 0) | (b != 0));
  else
    return static_cast<Bool>((a != 0) ^ (b != 0));
}

template <BinaryOp op, class T>
void binary_loop(void* out, const void* const* in, std::int64_t n, const double*) {
  using Out = decltype(apply<op, T>(T{}, T{}));
  auto* y = static_cast<Out*>(out);
  const auto* a = static_cast<const T*>(in[0]);
  const auto* b = static_cast<const T*>(in[1]);
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) y[i] = apply<op, T>(a[i], b[i]);
}

template <class T>
void where_loop(void* out, const void* const* in, std::int64_t n, const double*) {
  auto* y = static_cast<T*>(out);
  const auto* condition = static_cast<const std::uint8_t*>(in[0]);
  const auto* a = static_cast<const T*>(in[1]);
  const auto* b = static_cast<const T*>(in[2]);
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) {
    const T p = a[i], q = b[i];
    y[i] = condition[i] ? p : q;
  }
}

// bfloat16: a block is widened into the first-level cache, goes through the loop for float, and is rounded.
template <Loop loop, int Inputs, class Out>
void through_float(void* out, const void* const* in, std::int64_t n, const double* parameters) {
  constexpr std::int64_t block = 512;
  alignas(64) float wide[Inputs][block], result[block];
  const void* inputs[Inputs];
  for (int k = 0; k < Inputs; ++k) inputs[k] = wide[k];
  for (std::int64_t first = 0; first < n; first += block) {
    const std::int64_t count = min_of(block, n - first);
    for (int k = 0; k < Inputs; ++k) {
      const auto* x = static_cast<const BFloat16*>(in[k]) + first;
      for (std::int64_t i = 0; i < count; ++i) wide[k][i] = x[i];
    }
    if constexpr (is_real<Out>) {
      loop(result, inputs, count, parameters);
      auto* y = static_cast<BFloat16*>(out) + first;
      for (std::int64_t i = 0; i < count; ++i) y[i] = BFloat16(result[i]);
    } else {
      loop(static_cast<Out*>(out) + first, inputs, count, parameters);
    }
  }
}

// The loop for each type.
template <UnaryOp op, class T>
struct UnaryLoop {
  static constexpr Loop loop = unary_loop<op, T>;
};
template <UnaryOp op>
struct UnaryLoop<op, BFloat16> {
  using Out = decltype(apply<op, float>(0.0f, 0.0f, 0.0f));
  static constexpr Loop loop = through_float<unary_loop<op, float>, 1, Out>;
};
template <BinaryOp op, class T>
struct BinaryLoop {
  static constexpr Loop loop = binary_loop<op, T>;
};
template <BinaryOp op>
struct BinaryLoop<op, BFloat16> {
  using Out = decltype(apply<op, float>(0.0f, 0.0f));
  static constexpr Loop loop = through_float<binary_loop<op, float>, 2, Out>;
};

#define WEFT_UNARY(name) \
  case UnaryOp::name: return UnaryLoop<UnaryOp::name, T>::loop;
#define WEFT_BINARY(name) \
  case BinaryOp::name: return BinaryLoop<BinaryOp::name, T>::loop;

// Each returns nullptr for an operation that has no loop for this type.
template <class T>
Loop unary_number(UnaryOp op) {
  switch (op) {
    WEFT_UNARY(neg)
    WEFT_UNARY(abs)
    WEFT_UNARY(sign)
    WEFT_UNARY(square)
    WEFT_UNARY(clip)
    WEFT_UNARY(isnan)
    WEFT_UNARY(isfinite)
    WEFT_UNARY(logical_not)
    default: return nullptr;
  }
}

template <class T>
Loop unary_floating(UnaryOp op) {
  switch (op) {
    WEFT_UNARY(sqrt)
    WEFT_UNARY(rsqrt)
    WEFT_UNARY(reciprocal)
    WEFT_UNARY(exp)
    WEFT_UNARY(expm1)
    WEFT_UNARY(log)
    WEFT_UNARY(log1p)
    WEFT_UNARY(sin)
    WEFT_UNARY(cos)
    WEFT_UNARY(erf)
    WEFT_UNARY(floor)
    WEFT_UNARY(ceil)
    WEFT_UNARY(round)
    default: return unary_number<T>(op);
  }
}

template <class T>
Loop binary_predicate(BinaryOp op) {
  switch (op) {
    WEFT_BINARY(eq)
    WEFT_BINARY(ne)
    WEFT_BINARY(lt)
    WEFT_BINARY(le)
    WEFT_BINARY(gt)
    WEFT_BINARY(ge)
    WEFT_BINARY(logical_and)
    WEFT_BINARY(logical_or)
    WEFT_BINARY(logical_xor)
    default: return nullptr;
  }
}

template <class T>
Loop binary_number(BinaryOp op) {
  switch (op) {
    WEFT_BINARY(add)
    WEFT_BINARY(sub)
    WEFT_BINARY(mul)
    WEFT_BINARY(maximum)
    WEFT_BINARY(minimum)
    default: return binary_predicate<T>(op);
  }
}

template <class T>
Loop binary_floating(BinaryOp op) {
  if (op == BinaryOp::div) return BinaryLoop<BinaryOp::div, T>::loop;
  if (op == BinaryOp::pow) return BinaryLoop<BinaryOp::pow, T>::loop;
  return binary_number<T>(op);
}

#undef WEFT_UNARY
#undef WEFT_BINARY

// A bool is a byte of 0 or 1.
Loop find_loop(UnaryOp op, DType dtype) {
  switch (dtype) {
    case DType::float32: return unary_floating<float>(op);
    case DType::float64: return unary_floating<double>(op);
    case DType::bfloat16: return unary_floating<BFloat16>(op);
    case DType::int64: return unary_number<std::int64_t>(op);
    case DType::int32: return unary_number<std::int32_t>(op);
    default: return unary_number<std::uint8_t>(op);
  }
}

Loop find_loop(BinaryOp op, DType dtype) {
  switch (dtype) {
    case DType::float32: return binary_floating<float>(op);
    case DType::float64: return binary_floating<double>(op);
    case DType::bfloat16: return binary_floating<BFloat16>(op);
    case DType::int64: return binary_number<std::int64_t>(op);
    case DType::int32: return binary_number<std::int32_t>(op);
    default: return binary_number<std::uint8_t>(op);
  }
}

bool by_loop(const UnaryArgs& a) {
  const Loop loop = find_loop(a.op, a.dtype);
  if (!loop) return false;
  const bool slow = a.op >= UnaryOp::exp && a.op <= UnaryOp::erf;
  const int size = size_of(a.dtype);
  run_nest({loop,
            a.ndim,
            a.shape,
            a.out,
            a.op >= UnaryOp::isnan ? 1 : size,
            1,
            {a.x},
            {size},
            {a.low, a.high},
            slow ? 8 : 1});
  return true;
}

bool by_loop(const BinaryArgs& a) {
  const Loop loop = find_loop(a.op, a.dtype);
  if (!loop) return false;
  const int size = size_of(a.dtype);
  run_nest({loop,
            a.ndim,
            a.shape,
            a.out,
            a.op >= BinaryOp::eq ? 1 : size,
            2,
            {a.a, a.b},
            {size, size},
            {},
            a.op == BinaryOp::pow ? 16 : 1});
  return true;
}

// x to the power 2, which people write, is a product.
bool square_by_pow(const BinaryArgs& a) {
  if (a.op != BinaryOp::pow || (a.dtype != DType::float32 && a.dtype != DType::float64)) return false;
  for (int i = 0; i < a.ndim; ++i)
    if (a.b.strides[i] != 0) return false;
  const double exponent = a.dtype == DType::float32
                              ? static_cast<double>(*static_cast<const float*>(a.b.data))
                              : *static_cast<const double*>(a.b.data);
  if (exponent != 2) return false;
  BinaryArgs product = a;
  product.op = BinaryOp::mul;
  product.b = a.a;
  return by_loop(product);
}

}  // namespace

void unary(Stream& stream, const UnaryArgs& a) {
  if (by_loop(a)) return;
  reference::unary(stream, a);
}

void binary(Stream& stream, const BinaryArgs& a) {
  if (square_by_pow(a)) return;
  if (by_loop(a)) return;
  reference::binary(stream, a);
}

// Only bytes move: the type matters by its size.
void where(Stream&, const WhereArgs& a) {
  const int size = size_of(a.dtype);
  const Loop loop = size == 4   ? where_loop<std::uint32_t>
                    : size == 8 ? where_loop<std::uint64_t>
                    : size == 2 ? where_loop<std::uint16_t>
                                : where_loop<std::uint8_t>;
  run_nest({loop, a.ndim, a.shape, a.out, size, 3, {a.condition, a.a, a.b}, {1, size, size}, {}, 1});
}

void arange(Stream& stream, const ArangeArgs& a) { reference::arange(stream, a); }

}  // namespace weft::cpu::WEFT_ISA
