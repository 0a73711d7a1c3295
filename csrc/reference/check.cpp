// Checks of an array's elements; see ops/check.h.
#include <cmath>
#include <type_traits>

#include "reference/kernels.h"

namespace weft::reference {

namespace {

// good(v) of each value. A first pass only counts, which the compiler makes vectors of.
template <class T, class F>
void check_all(const CheckValuesArgs& a, F good) {
  const auto* values = static_cast<const T*>(a.values);
  std::int64_t bad = 0;
  for (std::int64_t i = 0; i < a.count; ++i) bad += !good(values[i]);
  for (std::int64_t i = 0; bad != 0 && i < a.count; ++i)
    if (!good(values[i]))
      a.fail(a, i, static_cast<std::int64_t>(std::is_integral_v<T> ? values[i] : T{}),
             static_cast<double>(values[i]));
}

}  // namespace

void check_values(Stream&, const CheckValuesArgs& a) {
  switch (a.rule) {
    case ElementRule::range:
      return check_all<std::int64_t>(
          a, [&](std::int64_t v) { return (v >= a.low && v < a.high) || (a.has_ignore && v == a.ignore); });
    case ElementRule::finite: return check_all<double>(a, [](double v) { return std::isfinite(v); });
    case ElementRule::fraction:
      return dispatch_floating(a.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        check_all<T>(a, [](T v) { return !(v < 0) && !(v > 1); });
      });
  }
}

}  // namespace weft::reference
