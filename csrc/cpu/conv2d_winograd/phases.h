// Space to depth: an image whose pixels are taken two by two, for a convolution with stride 2.
//
//   X[n][(i C + c) 2 + j][h][w] = x[n][c][2 h + i - top][2 w + j - left],  zero outside; i, j in {0, 1}
//
// Stride 2 over x with tap (2 a + i, 2 b + j) is stride 1 over X with tap (a, b) of channel (i, c, j); so the
// padding vanishes in the phases. The two phases j of a row lie next to each other: 2 L pixels of x are L of
// each.
#pragma once
#include "cpu/conv2d_winograd/output.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

#if defined(WEFT_ISA_avx512)
constexpr Mask even_lanes = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
constexpr Mask low_pairs = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
#elif defined(WEFT_ISA_avx2)
constexpr Mask even_lanes = {0, 2, 4, 6, 8, 10, 12, 14};
constexpr Mask low_pairs = {0, 8, 1, 9, 2, 10, 3, 11};
#else
constexpr Mask even_lanes = {0, 2, 4, 6};
constexpr Mask low_pairs = {0, 4, 1, 5};
#endif

// The images x (N, C, H, W), read as X (N, 4 C, .., ..).
struct Phases {
  const float* data;
  std::int64_t C, H, W, pad_top, pad_left;
  std::int64_t top = 0, left = 0;  // X itself has no padding
};

// The images dx (N, C, H, W), written as X with P x Q pixels; K = 4 C.
struct PhaseOutputs {
  float* data;
  std::int64_t C, H, W, pad_top, pad_left;
  std::int64_t K, P, Q;
  const float* bias = nullptr;
  bool relu = false;
};

// Lanes 2 g and 2 g + 1 of channel block k0 are a row of x: its channel and phase i.
struct PhaseRow {
  PhaseRow(std::int64_t C, std::int64_t k0, int g)
      : index(k0 / 2 + g), inside(index < 2 * C), i(index / C), c(index % C) {}
  std::int64_t index;
  bool inside;
  std::int64_t i, c;
};

// line[0 .. count) = row[from .. from + count), zero outside of [0, W); count is whole vectors.
inline void copy_clipped(const float* row, std::int64_t W, std::int64_t from, std::int64_t count,
                         float* line) {
  const std::int64_t begin = min_of(count, max_of<std::int64_t>(0, -from)),
                     end = max_of(begin, min_of(count, W - from));
  for (std::int64_t i = 0; i < count; i += L)
    if (i < begin || i + L > end) store(line + i, Vec{});
  std::int64_t i = begin;
  for (; i + L <= end; i += L) store(line + i, load(row + from + i));
  for (; i < end; ++i) line[i] = row[from + i];
}

inline void load_strip(const Phases& x, std::int64_t n, std::int64_t c0, std::int64_t h0, std::int64_t rows,
                       std::int64_t w0, std::int64_t columns, float* strip) {
  const std::int64_t length = 2 * ceil_div(columns, L) * L;
  const Scratch<float> lines(L / 2 * length);
  for (std::int64_t h = h0; h < h0 + rows; ++h, strip += columns * L) {
    for (int g = 0; g < L / 2; ++g) {
      const PhaseRow row(x.C, c0, g);
      const std::int64_t from = 2 * h + row.i - x.pad_top;
      const bool inside = row.inside && from >= 0 && from < x.H;
      // So many planes at a time are no stream for the hardware.
      constexpr std::int64_t rows_ahead = 8;
      const float* later = x.data + ((n * x.C + row.c) * x.H + from + rows_ahead) * x.W + 2 * w0;
      for (std::int64_t i = 0; i < 2 * columns; i += 16) __builtin_prefetch(later + i);
      copy_clipped(inside ? x.data + ((n * x.C + row.c) * x.H + from) * x.W : nullptr, inside ? x.W : 0,
                   2 * w0 - x.pad_left, length, lines.data() + g * length);
    }
    for (std::int64_t w = 0; w < columns; w += L) {
      Vec r[L];
#pragma GCC unroll 8
      for (int g = 0; g < L / 2; ++g) {
        const Vec a = load(lines.data() + g * length + 2 * w),
                  b = load(lines.data() + g * length + 2 * w + L);
        r[2 * g] = __builtin_shuffle(a, b, even_lanes);
        r[2 * g + 1] = __builtin_shuffle(a, b, even_lanes + 1);
      }
      transpose(r);
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i)
        if (w + i < columns) store(strip + (w + i) * L, r[i]);
    }
  }
}

inline void store_box(const PhaseOutputs& out, std::int64_t n, std::int64_t k0, std::int64_t p0,
                      std::int64_t rows, std::int64_t q0, std::int64_t columns, const float* pixels) {
  const std::int64_t length = 2 * ceil_div(columns, L) * L;
  const Scratch<float> lines(L / 2 * length);
  const std::int64_t to = 2 * q0 - out.pad_left;
  const std::int64_t begin = max_of<std::int64_t>(0, -to), end = min_of(2 * columns, out.W - to);
  for (std::int64_t p = p0; p < p0 + rows; ++p, pixels += columns * L) {
    for (std::int64_t q = 0; q < columns; q += L) {
      Vec r[L];
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) r[i] = q + i < columns ? load(pixels + (q + i) * L) : Vec{};
      transpose(r);
#pragma GCC unroll 8
      for (int g = 0; g < L / 2; ++g) {
        float* line = lines.data() + g * length + 2 * q;
        store(line, __builtin_shuffle(r[2 * g], r[2 * g + 1], low_pairs));
        store(line + L, __builtin_shuffle(r[2 * g], r[2 * g + 1], low_pairs + L / 2));
      }
    }
    for (int g = 0; g < L / 2; ++g) {
      const PhaseRow row(out.C, k0, g);
      const std::int64_t h = 2 * p + row.i - out.pad_top;
      if (!row.inside || h < 0 || h >= out.H) continue;
      float* dx = out.data + ((n * out.C + row.c) * out.H + h) * out.W + to;
      for (std::int64_t i = begin; i < end; ++i) dx[i] = lines[g * length + i];
    }
  }
}

}  // namespace weft::cpu::WEFT_ISA
