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

__device__ __forceinline__ bool is_good(const CheckValuesArgs& a, std::int64_t i) {
  if (a.dtype == DType::float64) return isfinite(static_cast<const double*>(a.values)[i]);
  const std::int64_t value = static_cast<const std::int64_t*>(a.values)[i];
  return (value >= a.low && value < a.high) || (a.has_ignore && value == a.ignore);
}

__device__ __forceinline__ void tell(const CheckValuesArgs& a, ElementIndex first, Finding* finding) {
  const bool real = a.dtype == DType::float64;
  finding->value = real ? 0 : static_cast<const long long*>(a.values)[first];
  finding->real = real ? static_cast<const double*>(a.values)[first] : 0;
  finding->position = first;
}

}  // namespace weft::cuda
