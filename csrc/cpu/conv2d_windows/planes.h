// Images as padded planes, one for each phase of the stride: plane (a, b) of a channel holds the pixels
// (h sh + a, w sw + b), with zeros around. In them a tap of the kernel is a shift, whatever the stride: the
// input that it meets at output (p, q) lies at p pitch + q + offset(tap).
#pragma once
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/simd/lanes.h"

namespace weft::cpu::WEFT_ISA {

constexpr int most_taps = 128, most_phases = 16;

// One axis: tap i meets coordinate (position + shift[i]) stride + phase[i].
struct AxisTaps {
  std::int64_t stride, count, low, extent;  // extent: of a plane, for `positions` positions
  std::int64_t shift[most_taps], phase[most_taps];

  // u = the coordinate that tap i meets at position 0.
  void add(std::int64_t u) {
    phase[count] = (u % stride + stride) % stride;
    shift[count] = (u - phase[count]) / stride;
    ++count;
  }
  void close(std::int64_t positions) {
    std::int64_t high = shift[0];
    low = shift[0];
    for (std::int64_t i = 1; i < count; ++i) {
      low = min_of(low, shift[i]);
      high = max_of(high, shift[i]);
    }
    extent = positions + high - low;
  }
};

struct Planes {
  std::int64_t images, channels, height, width;  // of the source, NCHW
  AxisTaps h, w;
  std::int64_t phases = 0, taps = 0;
  std::int64_t phase[most_phases];  // those in use: a * w.stride + b
  std::int64_t offset[most_taps];   // of a tap, from its channel's first plane

  std::int64_t pitch() const { return w.extent; }
  std::int64_t plane() const { return h.extent * w.extent; }
  std::int64_t channel() const { return phases * plane(); }
  std::int64_t image() const { return channels * channel(); }
  // With room for a pair of vectors behind the last number.
  std::int64_t size() const { return images * image() + 2 * lanes_of<float>; }

  void close() {
    for (std::int64_t i = 0; i < h.count; ++i)
      for (std::int64_t j = 0; j < w.count; ++j) {
        const std::int64_t wanted = h.phase[i] * w.stride + w.phase[j];
        std::int64_t at = 0;
        while (at < phases && phase[at] != wanted) ++at;
        if (at == phases) phase[phases++] = wanted;
        offset[taps++] = at * plane() + (h.shift[i] - h.low) * pitch() + w.shift[j] - w.low;
      }
  }
};

// Where one phase's rows lie inside of the image: columns [begin, end) of the plane, from column `first` on.
struct PhaseRows {
  PhaseRows(const Planes& f, std::int64_t phase)
      : a(phase / f.w.stride), stride(f.w.stride), begin(max_of<std::int64_t>(0, -f.w.low)) {
    const std::int64_t b = phase % stride, inside = f.width > b ? (f.width - b - 1) / stride + 1 : 0;
    end = max_of(begin, min_of(f.w.extent, inside - f.w.low));
    first = (begin + f.w.low) * stride + b;
  }
  std::int64_t a, stride, begin, end, first;
};

// Row i of one phase of a channel.
inline void fill_row(const Planes& f, const PhaseRows& g, const float* x, std::int64_t i, float* to) {
  constexpr std::int64_t L = lanes_of<float>;
  using Vec = VecOf<float>::type;
  const std::int64_t row = (i + f.h.low) * f.h.stride + g.a;
  const std::int64_t end = row < 0 || row >= f.height ? g.begin : g.end;
  for (std::int64_t j = 0; j < g.begin; ++j) to[j] = 0;
  const float* from = x + row * f.width + g.first;
  std::int64_t j = g.begin;
  if (g.stride == 1)
    for (; j < end; j += L, from += L) {
      const std::int64_t count = min_of(L, end - j);
      store_some<float>(to + j, load_some<float>(from, count), count);
    }
  else if (g.stride == 2)
    for (; j < end; j += L, from += 2 * L) {
      if (j + L < end) {
        *reinterpret_cast<Vec*>(to + j) =
            even_lanes<float>(*reinterpret_cast<const Vec*>(from), *reinterpret_cast<const Vec*>(from + L));
        continue;
      }
      const std::int64_t count = end - j, reach = 2 * count - 1;
      const Vec low = load_some<float>(from, min_of(L, reach));
      const Vec high = reach > L ? load_some<float>(from + L, reach - L) : Vec{};
      store_some<float>(to + j, even_lanes<float>(low, high), count);
    }
  else
    for (; j < end; ++j, from += g.stride) to[j] = *from;
  for (j = end; j < f.w.extent; ++j) to[j] = 0;
}

// Of all images of f, whose first channel in use x points to; the images are x_image numbers apart.
inline void fill_planes(const Planes& f, const float* x, std::int64_t x_image, float* planes) {
  parallel_ranges(f.phases * f.channels, f.phases * 16, f.images * f.image(),
                  [&](std::int64_t begin, std::int64_t end) {
                    const std::int64_t c0 = begin / f.phases, c1 = end / f.phases;
                    for (std::int64_t n = 0; n < f.images; ++n)
                      for (std::int64_t j = 0; j < f.phases; ++j) {
                        const PhaseRows rows(f, f.phase[j]);
                        for (std::int64_t c = c0; c < c1; ++c) {
                          float* to = planes + (n * f.channels + c) * f.channel() + j * f.plane();
                          for (std::int64_t i = 0; i < f.h.extent; ++i, to += f.pitch())
                            fill_row(f, rows, x + n * x_image + c * f.height * f.width, i, to);
                        }
                      }
                  });
  for (std::int64_t i = f.images * f.image(); i < f.size(); ++i) planes[i] = 0;
}

// A vector of positions: where the input that one tap meets at each of them lies in the planes.
struct Window {
  static constexpr int L = lanes_of<float>;
  std::int64_t at[L];                     // of each lane
  typename LaneIndex<float>::type index;  // at[l] - at[0]
  bool contiguous, near;                  // near: all within two vectors

  Window() = default;
  // Positions first.. of a result P rows by Q columns an image; `count` of them exist, the others repeat.
  [[gnu::always_inline]] Window(const Planes& f, std::int64_t P, std::int64_t Q, std::int64_t first,
                                std::int64_t count) {
    contiguous = near = true;
    std::int64_t q = first % Q, p = first / Q % P, n = first / Q / P;
    for (int l = 0; l < L; ++l) {
      if (l > 0 && l < count && ++q == Q) {
        q = 0;
        if (++p == P) {
          p = 0;
          ++n;
        }
      }
      at[l] = n * f.image() + p * f.pitch() + q;
      const std::int64_t distance = at[l] - at[0];
      contiguous = contiguous && (distance == l || l >= count);
      near = near && distance < 2 * L;
      index[l] = static_cast<std::int32_t>(distance < 2 * L ? distance : 0);
    }
  }

  [[gnu::always_inline]] VecOf<float>::type load(const float* planes) const {
    using Vec = VecOf<float>::type;
    const float* from = planes + at[0];
    if (contiguous) return *reinterpret_cast<const Vec*>(from);
    if (near)
      return __builtin_shuffle(*reinterpret_cast<const Vec*>(from), *reinterpret_cast<const Vec*>(from + L),
                               index);
    Vec v;
    for (int l = 0; l < L; ++l) v[l] = planes[at[l]];
    return v;
  }
};

}  // namespace weft::cpu::WEFT_ISA
