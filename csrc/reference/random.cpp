// Random numbers and dropout; the definitions are in ops/random.h.
#include <cmath>

#include "core/philox.h"
#include "reference/kernels.h"

namespace weft::reference {

namespace {

constexpr double two_pi = 6.28318530717958647692;

// Words of one call, by element.
struct Source {
  std::uint64_t seed, block;
  std::uint32_t operator[](std::int64_t i) const {
    return philox4x32_10(seed, block + static_cast<std::uint64_t>(i / 4)).v[i % 4];
  }
};

Source source(const std::int64_t* state) {
  return {static_cast<std::uint64_t>(state[0]), static_cast<std::uint64_t>(state[1])};
}
void advance(std::int64_t* state, std::int64_t n) { state[1] = advanced(state[1], n); }

// u < p for u = word / 2^32.
bool below(std::uint32_t word, double p) { return to_unit_double(word) < p; }

float unit(std::uint32_t word, float) { return to_unit_float(word); }
double unit(std::uint32_t word, double) { return to_unit_double(word); }
// In (0, 1]: 1 - u without a rounding.
float unit_not_zero(std::uint32_t word, float) { return static_cast<float>((word >> 8) + 1) * 0x1p-24f; }
double unit_not_zero(std::uint32_t word, double) { return (static_cast<double>(word) + 1) * 0x1p-32; }

template <class T>
void uniform(const RandomArgs& a, const Source& words) {
  const T low = static_cast<T>(a.a), high = static_cast<T>(a.b), last = std::nextafter(high, low);
  for (std::int64_t i = 0; i < a.n; ++i) {
    const T value = low + (high - low) * unit(words[i], T());
    static_cast<T*>(a.out)[i] = value > last ? last : value;  // rounding may reach high
  }
}

template <class T>
void normal(const RandomArgs& a, const Source& words) {
  for (std::int64_t i = 0; i < a.n; ++i) {
    const T u1 = unit_not_zero(words[i / 2 * 2], T()), u2 = unit(words[i / 2 * 2 + 1], T());
    const T radius = std::sqrt(-2 * std::log(u1)), angle = static_cast<T>(two_pi) * u2;
    const T z = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
    static_cast<T*>(a.out)[i] = static_cast<T>(a.a) + static_cast<T>(a.b) * z;
  }
}

}  // namespace

void random_fill(Stream&, const RandomArgs& a) {
  const Source words = source(a.state);
  if (a.kind == RandomKind::uniform)
    dispatch_floating(a.dtype, [&](auto type) { uniform<typename decltype(type)::type>(a, words); });
  else if (a.kind == RandomKind::normal)
    dispatch_floating(a.dtype, [&](auto type) { normal<typename decltype(type)::type>(a, words); });
  else
    dispatch_builtin(a.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const auto low = static_cast<std::int64_t>(a.a);
      const auto range = static_cast<std::uint64_t>(a.b - a.a);  // randint's
      for (std::int64_t i = 0; i < a.n; ++i)
        static_cast<T*>(a.out)[i] =
            a.kind == RandomKind::bernoulli
                ? static_cast<T>(below(words[i], a.a))
                : static_cast<T>(low + static_cast<std::int64_t>((words[i] * range) >> 32));
    });
  advance(a.state, a.n);
}

void dropout(Stream&, const DropoutArgs& a) {
  if (a.state) {
    const Source words = source(a.state);
    for (std::int64_t i = 0; i < a.n; ++i) a.mask[i] = below(words[i], 1 - a.p);
    advance(a.state, a.n);
  }
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const T scale = a.p < 1 ? static_cast<T>(1 / (1 - a.p)) : 0;
    for (std::int64_t i = 0; i < a.n; ++i)
      static_cast<T*>(a.out)[i] = static_cast<const T*>(a.x)[i] * (a.mask[i] ? scale : 0);
  });
}

}  // namespace weft::reference
