// Reading and adding by index; see ops/index.h.
//
// Reading moves bytes, so it is written for each size. Adding must go in the order of the indices wherever
// two of them are equal: threads share the work out by outer index and by columns of the inner dimension,
// which never meet.
#include "cpu/kernels.h"
#include "cpu/nest.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t grain = 16384;

[[gnu::always_inline]] inline std::int64_t from_start(std::int64_t index, std::int64_t n) {
  return index < 0 ? index + n : index;
}

template <class F>
[[gnu::always_inline]] inline void by_size(DType dtype, F&& f) {
  const int size = size_of(dtype);
  if (size == 4) return f(std::uint32_t{});
  if (size == 8) return f(std::uint64_t{});
  if (size == 2) return f(std::uint16_t{});
  f(std::uint8_t{});
}

// Unsigned, where integers wrap around.
template <class F>
[[gnu::always_inline]] inline void by_sum_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(float{});
    case DType::float64: return f(double{});
    case DType::int64: return f(std::uint64_t{});
    case DType::int32: return f(std::uint32_t{});
    default: return f(std::uint8_t{});
  }
}

template <class T>
void select_rows(const IndexSelectArgs& a) {
  auto* out = static_cast<T*>(a.out);
  const auto* x = static_cast<const T*>(a.x);
  const std::int64_t rows = a.outer * a.count, together = max_of<std::int64_t>(1, grain / a.inner);
  parallel_ranges(rows, together, rows * a.inner, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t from = r / a.count * a.n + from_start(a.index[r % a.count], a.n);
      const T* row = x + from * a.inner;
      T* to = out + r * a.inner;
      if (a.inner >= 32)
        __builtin_memcpy(to, row, static_cast<std::size_t>(a.inner) * sizeof(T));
      else
        for (std::int64_t j = 0; j < a.inner; ++j) to[j] = row[j];
    }
  });
}

// f(outer index, first column, last column + 1)
template <class F>
[[gnu::always_inline]] inline void by_columns(std::int64_t outer, std::int64_t inner, std::int64_t count,
                                              F&& f) {
  constexpr std::int64_t width = 64;
  const std::int64_t tiles = ceil_div(inner, width);
  parallel_tasks(outer * tiles, outer * inner * count, [&](std::int64_t task) {
    const std::int64_t first = task % tiles * width;
    f(task / tiles, first, min_of(first + width, inner));
  });
}

template <class T>
void add_rows(const IndexSelectArgs& a) {
  by_columns(a.outer, a.inner, a.count, [&](std::int64_t o, std::int64_t first, std::int64_t last) {
    T* out = static_cast<T*>(a.out) + o * a.n * a.inner;
    const T* x = static_cast<const T*>(a.x) + o * a.count * a.inner;
    for (std::int64_t i = 0; i < a.count; ++i, x += a.inner) {
      T* to = out + from_start(a.index[i], a.n) * a.inner;
#pragma GCC ivdep
      for (std::int64_t j = first; j < last; ++j) to[j] = static_cast<T>(to[j] + x[j]);
    }
  });
}

template <class T>
void gather_elements(const GatherArgs& a) {
  auto* out = static_cast<T*>(a.out);
  const std::int64_t rows = a.outer * a.count, together = max_of<std::int64_t>(1, grain / a.inner);
  parallel_ranges(rows, together, rows * a.inner, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* x = static_cast<const T*>(a.x) + r / a.count * a.n * a.inner;
      for (std::int64_t j = 0; j < a.inner; ++j) {
        const std::int64_t at = r * a.inner + j;
        out[at] = x[from_start(a.index[at], a.n) * a.inner + j];
      }
    }
  });
}

template <class T>
void scatter_elements(const GatherArgs& a) {
  by_columns(a.outer, a.inner, a.count, [&](std::int64_t o, std::int64_t first, std::int64_t last) {
    T* out = static_cast<T*>(a.out) + o * a.n * a.inner;
    const T* x = static_cast<const T*>(a.x) + o * a.count * a.inner;
    const std::int64_t* index = a.index + o * a.count * a.inner;
    for (std::int64_t i = 0; i < a.count; ++i)
      for (std::int64_t j = first; j < last; ++j) {
        const std::int64_t at = i * a.inner + j;
        T& to = out[from_start(index[at], a.n) * a.inner + j];
        to = static_cast<T>(to + x[at]);
      }
  });
}

template <class T>
void set_codes(const OneHotArgs& a, T one) {
  const std::int64_t together = max_of<std::int64_t>(1, grain / a.classes);
  parallel_ranges(a.count, together, a.count * a.classes, [&](std::int64_t begin, std::int64_t end) {
    T* out = static_cast<T*>(a.out);
    __builtin_memset(out + begin * a.classes, 0,
                     static_cast<std::size_t>((end - begin) * a.classes) * sizeof(T));
    for (std::int64_t i = begin; i < end; ++i) out[i * a.classes + a.index[i]] = one;
  });
}

}  // namespace

void index_select(Stream&, const IndexSelectArgs& a) {
  by_size(a.dtype, [&](auto word) { select_rows<decltype(word)>(a); });
}

void index_add(Stream&, const IndexSelectArgs& a) {
  by_sum_type(a.dtype, [&](auto number) { add_rows<decltype(number)>(a); });
}

void gather(Stream&, const GatherArgs& a) {
  by_size(a.dtype, [&](auto word) { gather_elements<decltype(word)>(a); });
}

void scatter_add(Stream&, const GatherArgs& a) {
  by_sum_type(a.dtype, [&](auto number) { scatter_elements<decltype(number)>(a); });
}

void one_hot(Stream&, const OneHotArgs& a) {
  by_sum_type(a.dtype, [&](auto number) { set_codes<decltype(number)>(a, 1); });
}

}  // namespace weft::cpu::WEFT_ISA
