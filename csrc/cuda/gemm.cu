// Matrix product; see ops/gemm.h. The policy is the first method that takes the problem:
//
//   simple   little work: a thread an element of C, neighbouring threads neighbouring columns. The fewest
//            instructions around the products; with a K of a few it is as fast as C can be written
//   thin     up to eight rows or columns: the memory's speed           (gemm_thin.cu)
//   mma      bfloat16 that can be copied 16 bytes at a time            (gemm_mma.cu)
//   tiles    all else: tiles in shared memory                          (gemm_tiles.h, gemm_float32.cu, ...)
//
// Thin, mma and tiles cut K into parts where C is small (gemm_parts.h).
#include "cuda/gemm_products.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

template <class P>
__global__ void __launch_bounds__(block) gemm_kernel(P p) {
  using T = typename P::T;
  const std::int64_t count = p.batch * p.M * p.N, step = std::int64_t{gridDim.x} * block;
  for (std::int64_t e = std::int64_t{blockIdx.x} * block + threadIdx.x; e < count; e += step) {
    const std::int64_t n = e % p.N, m = e / p.N % p.M, item = e / p.N / p.M;
    const typename P::In* a = p.a + item * p.a_batch + m * p.a_row;
    const typename P::In* b = p.b + item * p.b_batch + n * p.b_column;
    T sum = 0;
    for (std::int64_t k = 0; k < p.K; ++k)
      sum += static_cast<T>(a[k * p.a_column]) * static_cast<T>(b[k * p.b_row]);
    finish(p, item, m, n, sum);
  }
}

template <class P>
void multiply_simply(Stream& stream, const P& p) {
  launch_over<block>(stream, gemm_kernel<P>, p.batch * p.M * p.N, p);
}

// Products for which the threads of the simple kernel are enough: sums of a few, or a few thousand short
// ones.
constexpr std::int64_t few = 4, short_sum = 64, small = 1 << 18;

template <class P>
void choose(Stream& stream, const P& p) {
  if (p.K <= few || (p.K <= short_sum && p.batch * p.M * p.N * p.K <= small))
    return multiply_simply(stream, p);
  if (p.M <= most_thin) return multiply_thin(stream, p);
  if constexpr (std::is_same_v<typename P::In, BFloat16>)
    if (multiply_by_mma(stream, p)) return;
  multiply_tiled(stream, p);
}

}  // namespace

void gemm(Stream& stream, const GemmArgs& given) {
  // Rows of C are made to be its neighbours, and a few columns to a few rows: the methods are made for these.
  const bool column = given.N <= most_thin && given.N < given.M;
  const bool turn =
      given.M > most_thin && (column || (given.c.row_stride == 1 && given.c.column_stride != 1));
  const GemmArgs g = turn ? transposed(given) : given;
  dispatch_product(g, [&](auto in, auto out) {
    choose(stream, product_of<typename decltype(in)::type, typename decltype(out)::type>(g));
  });
}

}  // namespace weft::cuda
