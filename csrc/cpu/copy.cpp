// Copies, casts and fills; see ops/elementwise.h.
//
// A copy of one dtype moves bytes, so it is written for each size. The nest is in the output's order; where
// the input's fast dimension is another one (a transpose), tiles of both are taken, so that each cache line
// is read and written once.
#include "cpu/kernels.h"
#include "cpu/nest.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

template <class F>
bool by_size(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32:
    case DType::int32: f(std::uint32_t{}); return true;
    case DType::float64:
    case DType::int64: f(std::uint64_t{}); return true;
    case DType::bfloat16: f(std::uint16_t{}); return true;
    default: f(std::uint8_t{}); return true;
  }
}

template <class T>
void move_stretches(const CopyArgs& a) {
  const std::int64_t so = a.out.strides[a.ndim - 1], sx = a.x.strides[a.ndim - 1];
  for_stretches<2>(a.ndim, a.shape, {&a.out, &a.x}, 1, [&](const std::int64_t* at, std::int64_t n) {
    T* out = static_cast<T*>(a.out.data) + at[0];
    const T* x = static_cast<const T*>(a.x.data) + at[1];
    if (so == 1 && sx == 1 && n >= 256) {
      __builtin_memmove(out, x, static_cast<std::size_t>(n) * sizeof(T));
    } else if (so == 1 && sx == 1) {
      for (std::int64_t i = 0; i < n; ++i) out[i] = x[i];
    } else if (so == 1 && sx == 0) {
      const T value = *x;
      for (std::int64_t i = 0; i < n; ++i) out[i] = value;
    } else {
      for (std::int64_t i = 0; i < n; ++i) out[i * so] = x[i * sx];
    }
  });
}

// The dimension in which the input is contiguous, if that is not the inner one; else -1.
int fast_dimension(const CopyArgs& a) {
  const int last = a.ndim - 1;
  if (a.x.strides[last] == 1 || a.x.strides[last] == 0 || a.out.strides[last] != 1) return -1;
  for (int i = 0; i < last; ++i)
    if (a.x.strides[i] == 1 && a.shape[i] >= 4) return i;
  return -1;
}

constexpr std::int64_t tile = 32;

// out[p * so + q] = x[p + q * sx] for p < rows, q < columns: a tile, by way of the first-level cache.
template <class T>
[[gnu::always_inline]] inline void transpose_tile(T* out, const T* x, std::int64_t so, std::int64_t sx,
                                                  std::int64_t rows, std::int64_t columns) {
  T block[tile][tile];
  if (rows == tile && columns == tile) {
    for (std::int64_t q = 0; q < tile; ++q)
      for (std::int64_t p = 0; p < tile; ++p) block[q][p] = x[p + q * sx];
    for (std::int64_t p = 0; p < tile; ++p)
      for (std::int64_t q = 0; q < tile; ++q) out[p * so + q] = block[q][p];
    return;
  }
  for (std::int64_t q = 0; q < columns; ++q)
    for (std::int64_t p = 0; p < rows; ++p) out[p * so + q] = x[p + q * sx];
}

// Dimension `fast` of the nest and the inner one are cut into tiles; the others are walked through.
template <class T>
void transpose(const CopyArgs& a, int fast) {
  const int last = a.ndim - 1;
  const std::int64_t rows = a.shape[fast], columns = a.shape[last];
  const std::int64_t so = a.out.strides[fast], sx = a.x.strides[last];
  Strided out{}, x{};
  std::int64_t shape[max_rank] = {};
  int ndim = 0;
  for (int i = 0; i < last; ++i) {
    if (i == fast) continue;
    shape[ndim] = a.shape[i];
    out.strides[ndim] = a.out.strides[i];
    x.strides[ndim++] = a.x.strides[i];
  }
  const std::int64_t row_tiles = ceil_div(rows, tile), column_tiles = ceil_div(columns, tile);
  const std::int64_t outer = count_of(ndim, shape), tasks = outer * row_tiles;
  const std::int64_t together = max_of<std::int64_t>(1, 16384 / (tile * columns));
  parallel_ranges(tasks, together, outer * rows * columns, [&](std::int64_t begin, std::int64_t end) {
    Place<2> place{ndim, shape, {out.strides, x.strides}, {}, {}};
    for (std::int64_t i = begin; i < end; ++i) {
      place.seek(i / row_tiles);
      const std::int64_t p = i % row_tiles * tile;
      T* to = static_cast<T*>(a.out.data) + place.offset[0] + p * so;
      const T* from = static_cast<const T*>(a.x.data) + place.offset[1] + p;
      for (std::int64_t q = 0; q < column_tiles * tile; q += tile)
        transpose_tile(to + q, from + q * sx, so, sx, min_of(tile, rows - p), min_of(tile, columns - q));
    }
  });
}

bool move(const CopyArgs& a) {
  if (a.to != a.from) return false;
  const int fast = fast_dimension(a);
  return by_size(a.to, [&](auto word) {
    if (fast >= 0)
      transpose<decltype(word)>(a, fast);
    else
      move_stretches<decltype(word)>(a);
  });
}

template <class To, class From>
void cast_loop(void* out, const void* const* in, std::int64_t n, const double*) {
  auto* y = static_cast<To*>(out);
  const auto* x = static_cast<const From*>(in[0]);
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<To>(x[i]);
}

template <class T>
void fill_stretches(const FillArgs& a, T value) {
  const std::int64_t so = a.out.strides[a.ndim - 1];
  for_stretches<1>(a.ndim, a.shape, {&a.out}, 1, [&](const std::int64_t* at, std::int64_t n) {
    T* out = static_cast<T*>(a.out.data) + at[0];
    if (so == 1)
      for (std::int64_t i = 0; i < n; ++i) out[i] = value;
    else
      for (std::int64_t i = 0; i < n; ++i) out[i * so] = value;
  });
}

}  // namespace

void copy(Stream&, const CopyArgs& a) {
  if (move(a)) return;
  Loop loop = nullptr;
  dispatch_all(a.to, [&](auto to) {
    dispatch_all(a.from, [&](auto from) {
      loop = cast_loop<typename decltype(to)::type, typename decltype(from)::type>;
    });
  });
  run_nest({loop, a.ndim, a.shape, a.out, size_of(a.to), 1, {a.x}, {size_of(a.from)}, {}, 1});
}

void fill(Stream&, const FillArgs& a) {
  std::uint64_t bits = 0;  // the value's bytes come first: little-endian, as all of this library's machines
  dispatch_all(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const bool floating =
        a.dtype == DType::float32 || a.dtype == DType::float64 || a.dtype == DType::bfloat16;
    const T value = floating ? static_cast<T>(a.value) : static_cast<T>(a.integer);
    __builtin_memcpy(&bits, &value, sizeof(T));
  });
  by_size(a.dtype, [&](auto word) {
    using T = decltype(word);
    fill_stretches<T>(a, static_cast<T>(bits));
  });
}

}  // namespace weft::cpu::WEFT_ISA
