// Random numbers and dropout; see ops/random.h. Words are made for `chunk` elements at a time and turned into
// values at once, so that they stay in the cache. Compiled without contraction: every instruction set gives
// the same bits.
#include "core/box_muller.h"
#include "core/philox.h"
#include "cpu/kernels.h"
#include "cpu/parallel.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t chunk = 1024, grain = 16384;  // elements, multiples of 4

// f(begin, count, words) for pieces of at most `chunk` elements of [0, n).
template <class F>
void for_each_chunk(std::int64_t* state, std::int64_t n, F&& f) {
  const auto seed = static_cast<std::uint64_t>(state[0]), first = static_cast<std::uint64_t>(state[1]);
  parallel_ranges(n, grain, 8 * n, [&](std::int64_t begin, std::int64_t end) {
    std::uint32_t words[chunk];
    for (std::int64_t at = begin; at < end; at += chunk) {
      const std::int64_t count = min_of(chunk, end - at);
      const std::uint64_t block = first + static_cast<std::uint64_t>(at / 4);
      for (std::int64_t j = 0; j < ceil_div(count, 4); ++j) {
        const Words4 four = philox4x32_10(seed, block + static_cast<std::uint64_t>(j));
        for (int k = 0; k < 4; ++k) words[4 * j + k] = four.v[k];
      }
      f(at, count, words);
    }
  });
  state[1] = advanced(state[1], n);
}

[[gnu::always_inline]] inline float unit(std::uint32_t word, float) { return to_unit_float(word); }
[[gnu::always_inline]] inline double unit(std::uint32_t word, double) { return to_unit_double(word); }

[[gnu::always_inline]] inline float next_to(float x, float to) { return __builtin_nextafterf(x, to); }
[[gnu::always_inline]] inline double next_to(double x, double to) { return __builtin_nextafter(x, to); }

template <class T>
void uniform(const RandomArgs& a) {
  const T low = static_cast<T>(a.a), high = static_cast<T>(a.b), width = high - low;
  const T last = next_to(high, low);
  for_each_chunk(a.state, a.n, [&](std::int64_t at, std::int64_t count, const std::uint32_t* words) {
    T* __restrict out = static_cast<T*>(a.out) + at;
    for (std::int64_t i = 0; i < count; ++i) {
      const T value = low + width * unit(words[i], T());
      out[i] = value > last ? last : value;  // rounding may reach high
    }
  });
}

[[gnu::always_inline]] inline float root(float x) { return __builtin_sqrtf(x); }
[[gnu::always_inline]] inline double root(double x) { return __builtin_sqrt(x); }

template <class T>
void normal(const RandomArgs& a) {
  const T mean = static_cast<T>(a.a), std = static_cast<T>(a.b);
  for_each_chunk(a.state, a.n, [&](std::int64_t at, std::int64_t count, const std::uint32_t* words) {
    T* __restrict out = static_cast<T*>(a.out) + at;
    for (std::int64_t i = 0; i < count; i += 2) {
      const T radius = root(-2 * log_of_unit(unit_not_zero(words[i], T())));
      const Turn<T> turn = turn_of(words[i + 1], T());
      out[i] = mean + std * (radius * turn.cosine);
      if (i + 1 < count) out[i + 1] = mean + std * (radius * turn.sine);
    }
  });
}

// word < threshold exactly where word / 2^32 < p.
std::uint64_t threshold(double p) { return static_cast<std::uint64_t>(__builtin_ceil(p * 0x1p32)); }

template <class T>
void bernoulli(const RandomArgs& a) {
  const std::uint64_t limit = threshold(a.a);
  for_each_chunk(a.state, a.n, [&](std::int64_t at, std::int64_t count, const std::uint32_t* words) {
    T* __restrict out = static_cast<T*>(a.out) + at;
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(words[i] < limit);
  });
}

template <class T>
void randint(const RandomArgs& a) {
  const auto low = static_cast<std::int64_t>(a.a);
  const auto range = static_cast<std::uint64_t>(a.b - a.a);
  for_each_chunk(a.state, a.n, [&](std::int64_t at, std::int64_t count, const std::uint32_t* words) {
    T* __restrict out = static_cast<T*>(a.out) + at;
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = static_cast<T>(low + static_cast<std::int64_t>((words[i] * range) >> 32));
  });
}

template <class T>
void dropout_forward(const DropoutArgs& a, T scale) {
  const std::uint64_t limit = threshold(1 - a.p);
  for_each_chunk(a.state, a.n, [&](std::int64_t at, std::int64_t count, const std::uint32_t* words) {
    T* __restrict out = static_cast<T*>(a.out) + at;
    std::uint8_t* __restrict mask = a.mask + at;
    const T* __restrict x = static_cast<const T*>(a.x) + at;
    for (std::int64_t i = 0; i < count; ++i) {
      const bool kept = words[i] < limit;
      mask[i] = kept;
      out[i] = x[i] * (kept ? scale : T(0));
    }
  });
}

template <class T>
void dropout_any(const DropoutArgs& a) {
  const T scale = a.p < 1 ? static_cast<T>(1 / (1 - a.p)) : T(0);
  if (a.state) return dropout_forward(a, scale);
  parallel_ranges(a.n, grain, a.n, [&](std::int64_t begin, std::int64_t end) {
    T* __restrict dx = static_cast<T*>(a.out);
    const T* __restrict dout = static_cast<const T*>(a.x);
    const std::uint8_t* __restrict mask = a.mask;
    for (std::int64_t i = begin; i < end; ++i) dx[i] = dout[i] * (mask[i] ? scale : T(0));
  });
}

}  // namespace

void random_fill(Stream&, const RandomArgs& a) {
  const bool single = a.dtype == DType::float32;
  switch (a.kind) {
    case RandomKind::uniform: return single ? uniform<float>(a) : uniform<double>(a);
    case RandomKind::normal: return single ? normal<float>(a) : normal<double>(a);
    case RandomKind::bernoulli:
      return dispatch_builtin(a.dtype, [&](auto type) { bernoulli<typename decltype(type)::type>(a); });
    case RandomKind::randint:
      return dispatch_builtin(a.dtype, [&](auto type) { randint<typename decltype(type)::type>(a); });
  }
}

void dropout(Stream&, const DropoutArgs& a) {
  a.dtype == DType::float32 ? dropout_any<float>(a) : dropout_any<double>(a);
}

}  // namespace weft::cpu::WEFT_ISA
