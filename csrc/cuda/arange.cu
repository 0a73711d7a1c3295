// out[i] = start + i step; see ops/elementwise.h. Writes each element once.
#include "cuda/device/arithmetic.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

template <class T>
__global__ void __launch_bounds__(block) arange_kernel(ArangeArgs a) {
  auto* out = static_cast<T*>(a.out);
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * block;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * block + threadIdx.x; i < a.n; i += step) {
    if constexpr (is_real<T>)  // two roundings, as on the CPU
      out[i] = static_cast<T>(__dadd_rn(a.start, __dmul_rn(static_cast<double>(i), a.step)));
    else
      out[i] = static_cast<T>(static_cast<std::uint64_t>(a.integer_start) +
                              static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(a.integer_step));
  }
}

}  // namespace

void arange(Stream& stream, const ArangeArgs& a) {
  dispatch_number(a.dtype, [&](auto type) {
    launch_over<block>(stream, arange_kernel<typename decltype(type)::type>, a.n, a);
  });
}

}  // namespace weft::cuda
