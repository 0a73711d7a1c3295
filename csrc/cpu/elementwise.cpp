// Elementwise arithmetic, comparisons and selection; see ops/elementwise.h. Copies are in copy.cpp.
//
// Each operation and type is one loop over contiguous operands, which the compiler vectorizes; nest.h brings
// operands of any strides there. An operand may be the output itself (never shifted), so no iteration reads
// what another one has written: that is what ivdep says.
#include "cpu/kernels.h"
#include "cpu/nest.h"
#include "cpu/simd/math.h"
#include "ops/formulas.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

using formulas::is_real;

// The C library's functions, but where simd/math.h has code that a loop makes vectors of.
namespace math {
#define WEFT_FUNCTION(name)                   \
  template <class T>                          \
  WEFT_FORMULA T name(T x) {                  \
    if constexpr (sizeof(T) == sizeof(float)) \
      return __builtin_##name##f(x);          \
    else                                      \
      return __builtin_##name(x);             \
  }
#define WEFT_FUNCTION_2(name)                 \
  template <class T>                          \
  WEFT_FORMULA T name(T x, T y) {             \
    if constexpr (sizeof(T) == sizeof(float)) \
      return __builtin_##name##f(x, y);       \
    else                                      \
      return __builtin_##name(x, y);          \
  }
WEFT_LIBRARY(WEFT_FUNCTION)
WEFT_LIBRARY_2(WEFT_FUNCTION_2)
#undef WEFT_FUNCTION
#undef WEFT_FUNCTION_2
WEFT_FORMULA float exp(float x) { return weft::cpu::WEFT_ISA::exp(x); }
WEFT_FORMULA float expm1(float x) { return weft::cpu::WEFT_ISA::expm1(x); }
WEFT_FORMULA float log(float x) { return weft::cpu::WEFT_ISA::log(x); }
WEFT_FORMULA float log1p(float x) { return weft::cpu::WEFT_ISA::log1p(x); }
WEFT_FORMULA float erf(float x) { return weft::cpu::WEFT_ISA::erf(x); }
}  // namespace math

WEFT_DEFINE_APPLY(WEFT_FORMULA)

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

// nullptr where the function is not for the type.
#define WEFT_LOOP_1(name, kind, ...)                                \
  case UnaryOp::name:                                               \
    if constexpr (Kind::kind != Kind::floating || is_real<Wide<T>>) \
      return UnaryLoop<UnaryOp::name, T>::loop;                     \
    break;
#define WEFT_LOOP_2(name, kind, ...)                                \
  case BinaryOp::name:                                              \
    if constexpr (Kind::kind != Kind::floating || is_real<Wide<T>>) \
      return BinaryLoop<BinaryOp::name, T>::loop;                   \
    break;
template <class T>
Loop loop_of(UnaryOp op) {
  switch (op) { WEFT_UNARY(WEFT_LOOP_1) }
  return nullptr;
}
template <class T>
Loop loop_of(BinaryOp op) {
  switch (op) { WEFT_BINARY(WEFT_LOOP_2) }
  return nullptr;
}
#undef WEFT_LOOP_1
#undef WEFT_LOOP_2

// A bool is a byte of 0 or 1.
template <class Op>
Loop find_loop(Op op, DType dtype) {
  switch (dtype) {
    case DType::float32: return loop_of<float>(op);
    case DType::float64: return loop_of<double>(op);
    case DType::bfloat16: return loop_of<BFloat16>(op);
    case DType::int64: return loop_of<std::int64_t>(op);
    case DType::int32: return loop_of<std::int32_t>(op);
    default: return loop_of<std::uint8_t>(op);
  }
}

// The bytes of a result.
template <class Op>
int result_size(Op op, DType dtype) {
  return kind(op) == Kind::predicate ? 1 : size_of(dtype);
}

// x to the power 2, which people write, is a product.
bool square_by_pow(const BinaryArgs& a) {
  if (a.op != BinaryOp::pow || (a.dtype != DType::float32 && a.dtype != DType::float64)) return false;
  for (int i = 0; i < a.ndim; ++i)
    if (a.b.strides[i] != 0) return false;
  const double exponent = a.dtype == DType::float32
                              ? static_cast<double>(*static_cast<const float*>(a.b.data))
                              : *static_cast<const double*>(a.b.data);
  return exponent == 2;
}

}  // namespace

void unary(Stream&, const UnaryArgs& a) {
  const std::int64_t grain = cost(a.op) == Cost::costly ? 8 : 1;
  run_nest({find_loop(a.op, a.dtype),
            a.ndim,
            a.shape,
            a.out,
            result_size(a.op, a.dtype),
            1,
            {a.x},
            {size_of(a.dtype)},
            {a.low, a.high},
            grain});
}

void binary(Stream&, const BinaryArgs& given) {
  BinaryArgs a = given;
  if (square_by_pow(a)) {
    a.op = BinaryOp::mul;
    a.b = a.a;
  }
  const std::int64_t grain = cost(a.op) == Cost::costly ? 16 : 1;
  const int size = size_of(a.dtype);
  run_nest({find_loop(a.op, a.dtype),
            a.ndim,
            a.shape,
            a.out,
            result_size(a.op, a.dtype),
            2,
            {a.a, a.b},
            {size, size},
            {},
            grain});
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
