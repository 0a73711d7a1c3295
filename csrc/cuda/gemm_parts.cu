// The second pass of a product in parts (gemm_parts.h): a thread an element of C. It reads (parts + 1) M N
// numbers, mostly out of the L2, where the first pass left them: 1 us for 8 parts of 256 x 256.
#include "cuda/gemm_parts.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

template <class P>
__global__ void __launch_bounds__(block) sum_parts_kernel(P p, const typename P::T* sums, int parts) {
  const std::int64_t count = p.batch * p.M * p.N, step = std::int64_t{gridDim.x} * block;
  for (std::int64_t e = std::int64_t{blockIdx.x} * block + threadIdx.x; e < count; e += step) {
    typename P::T sum = sums[e];
#pragma unroll 4
    for (int part = 1; part < parts; ++part) sum += sums[part * count + e];
    finish(p, e / p.N / p.M, e / p.N % p.M, e % p.N, sum);
  }
}

}  // namespace

template <class In, class Out>
void sum_parts(Stream& stream, const Product<In, Out>& p, const Wide<In>* sums, int parts) {
  launch_over<block>(stream, sum_parts_kernel<Product<In, Out>>, p.batch * p.M * p.N, p, sums, parts);
}
template void sum_parts(Stream&, const Product<float, float>&, const float*, int);
template void sum_parts(Stream&, const Product<double, double>&, const double*, int);
template void sum_parts(Stream&, const Product<BFloat16, BFloat16>&, const float*, int);
template void sum_parts(Stream&, const Product<BFloat16, float>&, const float*, int);

}  // namespace weft::cuda
