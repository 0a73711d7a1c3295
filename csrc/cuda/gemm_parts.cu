// The second pass of a product in parts (gemm_parts.h): it reads (parts + 1) M N numbers, mostly out of the
// L2, where the first pass left them.
#include "cuda/gemm_parts.h"
#include "cuda/sum_parts.h"

namespace weft::cuda {

namespace {

template <class P>
struct FinishProduct {
  P p;
  __device__ __forceinline__ void operator()(std::int64_t i, typename P::T sum) const {
    finish(p, i / p.N / p.M, i / p.N % p.M, i % p.N, sum);
  }
};

}  // namespace

template <class In, class Out>
void finish_parts(Stream& stream, const Product<In, Out>& p, const Wide<In>* sums, int parts) {
  sum_parts(stream, sums, p.batch * p.M * p.N, parts, FinishProduct<Product<In, Out>>{p});
}
template void finish_parts(Stream&, const Product<float, float>&, const float*, int);
template void finish_parts(Stream&, const Product<double, double>&, const double*, int);
template void finish_parts(Stream&, const Product<BFloat16, BFloat16>&, const float*, int);
template void finish_parts(Stream&, const Product<BFloat16, float>&, const float*, int);

}  // namespace weft::cuda
