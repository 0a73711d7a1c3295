// Matrix product with everything that a layer wants done in the same pass.
//
//   C[M,N] = f(alpha A[M,K] B[K,N] + beta C + bias)      for each of `batch` problems
//
// A, B and C are given by row and column strides, so that a transpose or a slice is read where it lies.
// bias runs along N (one value a column, as in Linear) or along M. f is an activation or none.
// Where beta = 0, C is not read: it may hold NaN. K = 0 gives f(beta C + bias).
// dtypes: float32, float64; bfloat16 with C of bfloat16 or float32, bias of bfloat16, summed in float32 (in
// float64 by the reference), all of f's argument computed there and rounded once.
#pragma once
#include <cstdint>
#include <optional>

#include "core/dtype.h"
#include "ops/activation.h"

namespace weft {

class Array;

enum class BiasAxis : std::uint8_t { none, row, column };  // row: bias[m]; column: bias[n]

struct Matrix {
  void* data;
  std::int64_t row_stride, column_stride, batch_stride;  // in elements
};

struct GemmArgs {
  DType dtype, out_dtype;  // of A, B and bias; of C
  std::int64_t batch, M, N, K;
  double alpha, beta;
  Matrix a, b, c;
  const void* bias;  // contiguous
  BiasAxis bias_axis;
  Activation activation;
  double activation_alpha;
};

// matmul: (..., M, K) x (..., K, N) -> (..., M, N), the leading axes broadcast; a vector counts as a row on
// the left and as a column on the right, as in NumPy.
Array matmul(const Array& a, const Array& b);
// alpha op(a) op(b) + beta c, with bias and activation. a, b, c: rank 2, or rank 3 with a batch axis.
// out_dtype: of c and the result, that of a unless a is bfloat16.
Array gemm(const Array& a, const Array& b, const Array* c, double alpha, double beta, bool transpose_a,
           bool transpose_b, const Array* bias, Activation activation, double activation_alpha,
           std::optional<DType> out_dtype = {});
// x (..., in) and weight (out, in) as in torch: y = x weight^T + bias, (..., out).
Array linear(const Array& x, const Array& weight, const Array* bias, Activation activation);

}  // namespace weft
