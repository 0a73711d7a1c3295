// F(2x2,5x5) for few channels: lanes are images. What both directions share.
//
//   X [c][h][w][L]            L images, padded, turned from NCHW by squares of L x L
//   V [plane][c][tiles][L]    B^T X B of one or two tiles
//   U [plane][c][Kp]          G w G^T, less the diagonal of G; Kp is K rounded up to whole vectors
//
// With few channels the transforms are a third of the work, and lanes of channels would be half empty; lanes
// of images are full whatever the sizes, and no transform needs a shuffle.
#pragma once
#include "cpu/conv2d_winograd/weights.h"
#include "cpu/scratch.h"
#include "cpu/simd/some.h"
#include "ops/conv2d.h"

namespace weft::cpu::WEFT_ISA {

constexpr int planes5 = F5::n * F5::n;
typedef std::int32_t Codes __attribute__((vector_size(vector_bytes)));
#if defined(WEFT_ISA_avx512)
typedef char Chars __attribute__((vector_size(16)));
#endif

struct ImagesPlan {
  // Tiles of one image.
  ImagesPlan(const Conv2dParams& p, std::int64_t rows, std::int64_t columns)
      : p(p),
        rows(rows),
        columns(columns),
        tiles(rows * columns),
        Hp(max_of(2 * rows + 4, p.H + p.pad_top)),
        Wp(max_of(2 * columns + 4, p.W + p.pad_left)),
        Kp(ceil_div(p.K, L) * L),
        u_plane(p.C * Kp),
        blocks(ceil_div(p.N, L)) {}
  std::int64_t images(std::int64_t block) const { return min_of<std::int64_t>(L, p.N - block * L); }
  std::int64_t pixel(std::int64_t c, std::int64_t h, std::int64_t w) const {
    return ((c * Hp + h) * Wp + w) * L;
  }
  std::int64_t x_size() const { return pixel(p.C, 0, 0); }
  std::int64_t row_size() const { return p.C * F5::n * Wp * L; }
  // Where a tile begins in X.
  std::int64_t corner(std::int64_t tile) const { return pixel(0, tile / columns * 2, tile % columns * 2); }

  const Conv2dParams& p;
  std::int64_t rows, columns, tiles, Hp, Wp, Kp, u_plane, blocks;
};

// The first `count` numbers, the others 0; nothing else is read. Bytes become int32, in the guise of floats:
// GCC takes a conversion of bytes apart.
[[gnu::always_inline]] inline Vec load_lanes(const float* from, std::int64_t count) {
#if defined(WEFT_ISA_avx512)
  return __builtin_ia32_loadups512_mask(from, Vec{}, static_cast<unsigned short>((1u << count) - 1));
#else
  return load_some(from, count);
#endif
}
[[gnu::always_inline]] inline Vec load_lanes(const std::uint8_t* from, std::int64_t count) {
#if defined(WEFT_ISA_avx512)
  typedef int Ints16 __attribute__((vector_size(64)));
  const Chars bytes = __builtin_ia32_loaddquqi128_mask(reinterpret_cast<const char*>(from), Chars{},
                                                       static_cast<unsigned short>((1u << count) - 1));
  return __builtin_bit_cast(Vec, __builtin_ia32_pmovzxbd512_mask(bytes, Ints16{}, 0xffff));
#else
  Codes codes{};
  for (std::int64_t i = 0; i < count; ++i) codes[i] = from[i];
  return __builtin_bit_cast(Vec, codes);
#endif
}
[[gnu::always_inline]] inline void store_lanes(float* to, const Vec& v, std::int64_t count) {
#if defined(WEFT_ISA_avx512)
  __builtin_ia32_storeups512_mask(to, v, static_cast<unsigned short>((1u << count) - 1));
#else
  for (std::int64_t i = 0; i < count; ++i) to[i] = v[i];
#endif
}
[[gnu::always_inline]] inline void store_lanes(std::uint8_t* to, const Vec& v, std::int64_t count) {
#if defined(WEFT_ISA_avx512)
  typedef int Ints16 __attribute__((vector_size(64)));
  __builtin_ia32_storedquqi128_mask(
      reinterpret_cast<char*>(to),
      __builtin_ia32_pmovdb512_mask(__builtin_bit_cast(Ints16, v), Chars{}, 0xffff),
      static_cast<unsigned short>((1u << count) - 1));
#else
  const Codes codes = __builtin_bit_cast(Codes, v);
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<std::uint8_t>(codes[i]);
#endif
}

// to[i][lane] = from[lane stride + i] for i < count; lanes from `lanes` on are zero.
template <class T>
[[gnu::noinline]] void turn_in(const T* from, std::int64_t stride, std::int64_t lanes, std::int64_t count,
                               float* to) {
  for (std::int64_t f = 0; f < count; f += L) {
    const std::int64_t some = min_of<std::int64_t>(L, count - f);
    Vec r[L];
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i)
      r[i] = load_lanes(from + (i < lanes ? i * stride : 0) + f, i < lanes ? some : 0);
    transpose(r);
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i)
      if (i < some) store(to + (f + i) * L, r[i]);
  }
}

// The way back: to[lane stride + i] = from[i][lane].
template <class T>
[[gnu::noinline]] void turn_out(const float* from, std::int64_t stride, std::int64_t lanes,
                                std::int64_t count, T* to) {
  for (std::int64_t f = 0; f < count; f += L) {
    const std::int64_t some = min_of<std::int64_t>(L, count - f);
    Vec r[L];
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) r[i] = load(from + (f + (i < some ? i : 0)) * L);
    transpose(r);
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i)
      store_lanes(to + (i < lanes ? i * stride : 0) + f, r[i], i < lanes ? some : 0);
  }
}

// Rows h0 .. h1 (of X) of block `block`, each channel or all of them as one run where nothing is padded.
// run(first of the image's numbers, how many, first of X's).
template <class Run>
[[gnu::always_inline]] inline void each_run(const ImagesPlan& plan, std::int64_t h0, std::int64_t h1,
                                            Run&& run) {
  const Conv2dParams& p = plan.p;
  const std::int64_t top = max_of<std::int64_t>(0, h0 - p.pad_top), bottom = min_of(p.H, h1 - p.pad_top);
  if (bottom <= top) return;
  const bool whole_rows = plan.Wp == p.W, whole = whole_rows && plan.Hp == p.H && bottom - top == p.H;
  const std::int64_t channels = whole ? 1 : p.C, rows = whole_rows ? 1 : bottom - top;
  const std::int64_t count = whole ? p.C * p.H * p.W : whole_rows ? (bottom - top) * p.W : p.W;
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t h = top; h < top + rows; ++h)
      run((c * p.H + h) * p.W, count, plan.pixel(c, h + p.pad_top, p.pad_left));
}

// X's rows h0 .. h1 of a block.
inline void turn_images(const ImagesPlan& plan, const float* images, std::int64_t block, std::int64_t h0,
                        std::int64_t h1, float* x) {
  const Conv2dParams& p = plan.p;
  const std::int64_t size = p.C * p.H * p.W;
  if (plan.Hp != p.H || plan.Wp != p.W) clear(x, p.C * plan.Hp * plan.Wp);
  each_run(plan, h0, h1, [&](std::int64_t from, std::int64_t count, std::int64_t to) {
    turn_in(images + block * L * size + from, size, plan.images(block), count, x + to);
  });
}

// U of all filters.
inline void transform_filters(const ImagesPlan& plan, const float* weight, float* u) {
  const Conv2dParams& p = plan.p;
  constexpr int taps = F5::r * F5::r;
  const std::int64_t length = p.C * taps;
  const Scratch<float> turned(length * L);
  for (std::int64_t k = 0; k < p.K; k += L) {
    turn_in(weight + k * length, length, p.K - k, length, turned.data());
    for (std::int64_t c = 0; c < p.C; ++c) {
      Vec g[taps];
#pragma GCC unroll 25
      for (int tap = 0; tap < taps; ++tap) g[tap] = load(turned.data() + (c * taps + tap) * L);
      weight_planes<F5>(g, u + c * plan.Kp + k, plan.u_plane);
    }
  }
}

// The planes of a row of points are made three at a time, 0 s -s and t -t inf: the registers hold no more.
constexpr int halves5 = 2 * F5::n;

// V of one tile: planes `plane` floats apart, channels `step`.
[[gnu::noinline, gnu::noclone]] inline void transform_tile(const ImagesPlan& plan, const float* x, float* v,
                                                           std::int64_t step, std::int64_t plane) {
  for (std::int64_t c = 0; c < plan.p.C; ++c, x += plan.pixel(1, 0, 0), v += step) {
    Vec t[F5::n][F5::n];
#pragma GCC unroll 6
    for (int j = 0; j < F5::n; ++j) {
      Vec in[F5::n], out[F5::n];
#pragma GCC unroll 6
      for (int i = 0; i < F5::n; ++i) in[i] = load(x + (i * plan.Wp + j) * L);
      F5::input(in, out);
#pragma GCC unroll 6
      for (int i = 0; i < F5::n; ++i) t[i][j] = out[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < F5::n; ++i) {
      Vec out[F5::n];
      F5::input(t[i], out);
#pragma GCC unroll 6
      for (int j = 0; j < F5::n; ++j) store(v + (i * F5::n + j) * plane, out[j]);
    }
  }
}

}  // namespace weft::cpu::WEFT_ISA
