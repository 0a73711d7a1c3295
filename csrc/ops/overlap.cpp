#include "ops/overlap.h"

#include "ops/elementwise.h"

namespace weft {

namespace {

// The bytes that an array spans.
std::pair<const char*, const char*> span(const Array& x) {
  std::int64_t low = 0, high = 0;
  for (int i = 0; i < x.ndim(); ++i) {
    const std::int64_t reach = (x.shape()[i] - 1) * x.strides()[i];
    (reach < 0 ? low : high) += reach;
  }
  const auto size = static_cast<std::int64_t>(itemsize(x.dtype()));
  const char* base = static_cast<const char*>(x.raw());
  return {base + low * size, base + (high + 1) * size};
}

bool overlaps(const Array& out, const Array& x) {
  if (out.numel() == 0 || x.numel() == 0 || out.device() != x.device()) return false;
  if (out.raw() == x.raw() && out.shape() == x.shape() && out.strides() == x.strides() &&
      out.dtype() == x.dtype())
    return false;
  const auto [a, b] = span(out);
  const auto [c, d] = span(x);
  return a < d && c < b;
}

}  // namespace

Array apart(const Array& out, const Array& x) { return overlaps(out, x) ? copy(x) : x; }

}  // namespace weft
