// Matrix product; see ops/gemm.h.
//
// The simple kernel: a thread computes one element of C; neighbouring threads have neighbouring columns.
#include "cuda/gemm_problem.h"

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

void multiply_simply(Stream& stream, const GemmArgs& g) {
  dispatch_product(g, [&](auto in, auto out) {
    using P = Product<typename decltype(in)::type, typename decltype(out)::type>;
    launch(gemm_kernel<P>, dim3(grid_for(stream, g.batch * g.M * g.N, block)), dim3(block), 0, handle(stream),
           product_of<typename P::In, typename P::Out>(g));
  });
}

}  // namespace

void gemm(Stream& stream, const GemmArgs& given) {
  const bool turn = given.c.row_stride == 1 && given.c.column_stride != 1;
  multiply_simply(stream, turn ? transposed(given) : given);
}

}  // namespace weft::cuda
