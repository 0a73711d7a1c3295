// What kernels that check elements share; see ops/check.h.
#pragma once
#include "cuda/device/reduce.h"
#include "cuda/finding.h"

namespace weft::cuda {

using ElementIndex = unsigned long long;

struct SmallerIndex {
  __device__ static ElementIndex identity() { return no_finding; }
  __device__ static ElementIndex combine(ElementIndex a, ElementIndex b) { return a < b ? a : b; }
};

// A floating value of the array; 0 where it holds integers.
__device__ __forceinline__ double real_at(const CheckValuesArgs& a, std::int64_t i) {
  if (a.rule == ElementRule::range) return 0;
  return a.dtype == DType::float32 ? static_cast<double>(static_cast<const float*>(a.values)[i])
                                   : static_cast<const double*>(a.values)[i];
}

__device__ __forceinline__ bool is_good(const CheckValuesArgs& a, std::int64_t i) {
  const double real = real_at(a, i);
  if (a.rule == ElementRule::finite) return isfinite(real);
  if (a.rule == ElementRule::fraction) return !(real < 0) && !(real > 1);
  const std::int64_t value = static_cast<const std::int64_t*>(a.values)[i];
  return (value >= a.low && value < a.high) || (a.has_ignore && value == a.ignore);
}

__device__ __forceinline__ void tell(const CheckValuesArgs& a, ElementIndex first, Finding* finding) {
  const bool whole = a.rule == ElementRule::range;
  finding->value = whole ? static_cast<const long long*>(a.values)[first] : 0;
  finding->real = whole ? 0 : real_at(a, static_cast<std::int64_t>(first));
  finding->position = first;
}

}  // namespace weft::cuda
