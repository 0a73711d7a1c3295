// What the kernels of the matrix product share: the problem as plain data, and the end of each sum.
#pragma once
#include "cuda/device/activation.h"
#include "cuda/device/vec.h"
#include "cuda/kernels.h"

namespace weft::cuda {

// C[M,N] = f(alpha A[M,K] B[K,N] + beta C + bias), `batch` times; see ops/gemm.h. In: of A, B and bias; Out:
// of C. It is computed in T.
template <class In_, class Out_>
struct Product {
  using In = In_;
  using Out = Out_;
  using T = Wide<In>;
  std::int64_t batch, M, N, K;
  const In* a;
  std::int64_t a_row, a_column, a_batch;
  const In* b;
  std::int64_t b_row, b_column, b_batch;
  Out* c;
  std::int64_t c_row, c_column, c_batch;
  T alpha, beta;
  const In* bias;
  BiasAxis axis;
  Activation activation;
  T activation_alpha;
};

// The value of C at (m, n) but for the activation; c points to that element.
template <class P>
__device__ __forceinline__ typename P::T before_activation(const P& p, typename P::T sum,
                                                           const typename P::Out* c, std::int64_t m,
                                                           std::int64_t n) {
  using T = typename P::T;
  T value = p.alpha * sum;
  if (p.beta != 0) value += p.beta * static_cast<T>(*c);
  if (p.axis == BiasAxis::row) value += static_cast<T>(p.bias[m]);
  if (p.axis == BiasAxis::column) value += static_cast<T>(p.bias[n]);
  return value;
}

// Stores the element (m, n) of problem `item`, whose products' sum is `sum`.
template <class P>
__device__ __forceinline__ void finish(const P& p, std::int64_t item, std::int64_t m, std::int64_t n,
                                       typename P::T sum) {
  typename P::Out* const c = p.c + item * p.c_batch + m * p.c_row + n * p.c_column;
  const typename P::T value = before_activation(p, sum, c, m, n);
  *c = static_cast<typename P::Out>(activate(p.activation, value, p.activation_alpha));
}

// C^T = B^T A^T.
inline GemmArgs transposed(const GemmArgs& g) {
  const auto turned = [](const Matrix& x) {
    return Matrix{x.data, x.column_stride, x.row_stride, x.batch_stride};
  };
  GemmArgs t = g;
  t.M = g.N;
  t.N = g.M;
  t.a = turned(g.b);
  t.b = turned(g.a);
  t.c = turned(g.c);
  t.bias_axis = g.bias_axis == BiasAxis::row      ? BiasAxis::column
                : g.bias_axis == BiasAxis::column ? BiasAxis::row
                                                  : BiasAxis::none;
  return t;
}

template <class In, class Out>
Product<In, Out> product_of(const GemmArgs& g) {
  using T = Wide<In>;
  return {g.batch,
          g.M,
          g.N,
          g.K,
          static_cast<const In*>(g.a.data),
          g.a.row_stride,
          g.a.column_stride,
          g.a.batch_stride,
          static_cast<const In*>(g.b.data),
          g.b.row_stride,
          g.b.column_stride,
          g.b.batch_stride,
          static_cast<Out*>(g.c.data),
          g.c.row_stride,
          g.c.column_stride,
          g.c.batch_stride,
          static_cast<T>(g.alpha),
          static_cast<T>(g.beta),
          static_cast<const In*>(g.bias),
          g.bias ? g.bias_axis : BiasAxis::none,
          g.activation,
          static_cast<T>(g.activation_alpha)};
}

// f(Type<In>, Type<Out>) with the types of A and C.
template <class F>
void dispatch_product(const GemmArgs& g, F&& f) {
  if (g.dtype == DType::float32) return f(Type<float>{}, Type<float>{});
  if (g.dtype == DType::float64) return f(Type<double>{}, Type<double>{});
  if (g.out_dtype == DType::float32) return f(Type<BFloat16>{}, Type<float>{});
  f(Type<BFloat16>{}, Type<BFloat16>{});
}

// Which tile a block has. In order, the blocks pass over bands of 16 rows of tiles: those that run at the
// same time share rows of A and columns of B, which the L2 holds.
struct TileIndex {
  unsigned m, n;
};
__device__ __forceinline__ TileIndex tile_index(unsigned tile, unsigned tiles_m, unsigned tiles_n) {
  constexpr unsigned band = 16;
  const unsigned first = tile / (band * tiles_n) * band, left = tiles_m - first;
  const unsigned rows = left < band ? left : band, within = tile - first * tiles_n;
  return {first + within % rows, within / rows};
}

// Whether `size` neighbours, at multiples of two other strides, can be read or written 16 bytes at a time.
template <class T>
bool in_vectors(const T* data, std::int64_t size, std::int64_t stride, std::int64_t other,
                std::int64_t batch) {
  constexpr int wide = per_16_bytes<T>;
  return stride == 1 && size % wide == 0 && other % wide == 0 && batch % wide == 0 && aligned(data);
}

// launch(first problem, blocks): as few launches as the largest grid allows, for `blocks` blocks a problem.
template <class F>
void for_each_launch(std::int64_t blocks, std::int64_t batch, const F& launch) {
  const std::int64_t most = 2147483647 / blocks;
  for (std::int64_t first = 0; first < batch; first += most)
    launch(first, static_cast<unsigned>(blocks * (batch - first < most ? batch - first : most)));
}

}  // namespace weft::cuda
