// Checks of an array's elements; see ops/check.h.
#include <cmath>

#include "reference/kernels.h"

namespace weft::reference {

void check_values(Stream&, const CheckValuesArgs& a) {
  if (a.dtype == DType::float64) {
    const auto* values = static_cast<const double*>(a.values);
    for (std::int64_t i = 0; i < a.count; ++i)
      if (!std::isfinite(values[i])) a.fail(a, i, 0, values[i]);
    return;
  }
  const auto* values = static_cast<const std::int64_t*>(a.values);
  for (std::int64_t i = 0; i < a.count; ++i)
    if ((values[i] < a.low || values[i] >= a.high) && !(a.has_ignore && values[i] == a.ignore))
      a.fail(a, i, values[i], 0);
}

}  // namespace weft::reference
