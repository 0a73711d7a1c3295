// Reading and adding by index; the formulas are in ops/index.h.
#include "reference/kernels.h"

namespace weft::reference {

namespace {
std::int64_t from_start(std::int64_t index, std::int64_t n) { return index < 0 ? index + n : index; }

// Integers wrap around, which is defined on unsigned numbers only.
void add(float& out, float x) { out += x; }
void add(double& out, double x) { out += x; }
void add(std::int64_t& out, std::int64_t x) {
  out = static_cast<std::int64_t>(static_cast<std::uint64_t>(out) + static_cast<std::uint64_t>(x));
}
void add(std::int32_t& out, std::int32_t x) {
  out = static_cast<std::int32_t>(static_cast<std::uint32_t>(out) + static_cast<std::uint32_t>(x));
}
void add(std::uint8_t& out, std::uint8_t x) { out = static_cast<std::uint8_t>(out + x); }
}  // namespace

void index_select(Stream&, const IndexSelectArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* out = static_cast<T*>(a.out);
    const auto* x = static_cast<const T*>(a.x);
    for (std::int64_t o = 0; o < a.outer; ++o)
      for (std::int64_t i = 0; i < a.count; ++i)
        for (std::int64_t j = 0; j < a.inner; ++j)
          out[(o * a.count + i) * a.inner + j] = x[(o * a.n + from_start(a.index[i], a.n)) * a.inner + j];
  });
}

void index_add(Stream&, const IndexSelectArgs& a) {
  dispatch_number(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* out = static_cast<T*>(a.out);
    const auto* x = static_cast<const T*>(a.x);
    for (std::int64_t o = 0; o < a.outer; ++o)
      for (std::int64_t i = 0; i < a.count; ++i)
        for (std::int64_t j = 0; j < a.inner; ++j)
          add(out[(o * a.n + from_start(a.index[i], a.n)) * a.inner + j], x[(o * a.count + i) * a.inner + j]);
  });
}

void gather(Stream&, const GatherArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* out = static_cast<T*>(a.out);
    const auto* x = static_cast<const T*>(a.x);
    for (std::int64_t o = 0; o < a.outer; ++o)
      for (std::int64_t i = 0; i < a.count; ++i)
        for (std::int64_t j = 0; j < a.inner; ++j) {
          const std::int64_t at = (o * a.count + i) * a.inner + j;
          out[at] = x[(o * a.n + from_start(a.index[at], a.n)) * a.inner + j];
        }
  });
}

void scatter_add(Stream&, const GatherArgs& a) {
  dispatch_number(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* out = static_cast<T*>(a.out);
    const auto* x = static_cast<const T*>(a.x);
    for (std::int64_t o = 0; o < a.outer; ++o)
      for (std::int64_t i = 0; i < a.count; ++i)
        for (std::int64_t j = 0; j < a.inner; ++j) {
          const std::int64_t at = (o * a.count + i) * a.inner + j;
          add(out[(o * a.n + from_start(a.index[at], a.n)) * a.inner + j], x[at]);
        }
  });
}

void one_hot(Stream&, const OneHotArgs& a) {
  dispatch_all(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* out = static_cast<T*>(a.out);
    for (std::int64_t i = 0; i < a.count; ++i)
      for (std::int64_t c = 0; c < a.classes; ++c) out[i * a.classes + c] = T(a.index[i] == c);
  });
}

}  // namespace weft::reference
