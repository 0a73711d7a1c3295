// Checks of an array's elements; see ops/check.h. One block looks for the first bad element and writes it to
// pinned memory (findings.cpp reads it).
#include "cuda/device/reduce.h"
#include "cuda/finding.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 512;

struct Smaller {
  __device__ static unsigned long long identity() { return no_finding; }
  __device__ static unsigned long long combine(unsigned long long a, unsigned long long b) {
    return a < b ? a : b;
  }
};

__global__ void __launch_bounds__(block) check_values_kernel(CheckValuesArgs a, Finding* finding) {
  unsigned long long first = no_finding;
  const bool real = a.dtype == DType::float64;
  const auto* numbers = static_cast<const double*>(a.values);
  const auto* integers = static_cast<const long long*>(a.values);
  for (std::int64_t i = threadIdx.x; i < a.count && first == no_finding; i += block) {
    const bool good =
        real ? isfinite(numbers[i])
             : (integers[i] >= a.low && integers[i] < a.high) || (a.has_ignore && integers[i] == a.ignore);
    if (!good) first = static_cast<unsigned long long>(i);
  }
  first = block_reduce<Smaller, block>(first);
  if (threadIdx.x == 0 && first != no_finding) {
    finding->value = real ? 0 : integers[first];
    finding->real = real ? numbers[first] : 0;
    finding->position = first;
  }
}

}  // namespace

void find_bad_value(Stream& stream, const CheckValuesArgs& args, Finding* finding) {
  launch(check_values_kernel, dim3(1), dim3(block), 0, handle(stream), args, finding);
}

}  // namespace weft::cuda
