// Planes under a window of 3x3 with stride 1 or 2 and padding 1, as depthwise convolution and pooling see
// them.
//
// A band of an input plane is copied into a padded buffer in the first-level cache, so that the loops know no
// border; for stride 2 the copy also parts even from odd columns. Then the three columns that a vector of V
// neighbouring outputs needs from an input row are three loads,
//
//   stride 1   l, c, r = row[q], row[q+1], row[q+2]     row: 0, x[0], x[1], ..., 0
//   stride 2   l, c, r = E[q], O[q], E[q+1]             E: 0, x[1], x[3], ...   O: x[0], x[2], ...
//
// V is the widest vector of at most twice the row; a row that V does not divide ends in a vector that
// overlaps the one before. Where the row is shorter than V, a store runs over into the next row, which is
// written afterwards; only the last row of a plane is written in part.
#pragma once
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

namespace {

template <int V>
struct Lanes;
template <>
struct Lanes<4> {
  typedef float Vec __attribute__((vector_size(16), aligned(4), may_alias));
  typedef std::int32_t Int __attribute__((vector_size(16)));
  static constexpr Int even = {0, 2, 4, 6}, odd = {1, 3, 5, 7};
  static constexpr Int low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, number = {0, 1, 2, 3};
};
template <>
struct Lanes<8> {
  typedef float Vec __attribute__((vector_size(32), aligned(4), may_alias));
  typedef std::int32_t Int __attribute__((vector_size(32)));
  static constexpr Int even = {0, 2, 4, 6, 8, 10, 12, 14}, odd = {1, 3, 5, 7, 9, 11, 13, 15};
  static constexpr Int low = {0, 8, 1, 9, 2, 10, 3, 11}, high = {4, 12, 5, 13, 6, 14, 7, 15};
  static constexpr Int number = {0, 1, 2, 3, 4, 5, 6, 7};
};
template <>
struct Lanes<16> {
  typedef float Vec __attribute__((vector_size(64), aligned(4), may_alias));
  typedef std::int32_t Int __attribute__((vector_size(64)));
  static constexpr Int even = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
  static constexpr Int odd = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
  static constexpr Int low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  static constexpr Int high = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  static constexpr Int number = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
};

template <int V>
[[gnu::always_inline]] inline auto load(const float* p) {
  return *reinterpret_cast<const typename Lanes<V>::Vec*>(p);
}
template <int V>
[[gnu::always_inline]] inline void store(float* p, typename Lanes<V>::Vec v) {
  *reinterpret_cast<typename Lanes<V>::Vec*>(p) = v;
}
// The first n lanes.
template <int V>
[[gnu::always_inline]] inline void store_first(float* p, typename Lanes<V>::Vec v, std::int64_t n) {
  float all[V];
  store<V>(all, v);
  for (std::int64_t i = 0; i < n; ++i) p[i] = all[i];
}
template <int V>
[[gnu::always_inline]] inline auto all_lanes(float x) {
  return x - typename Lanes<V>::Vec{};
}

// f.template operator()<V>(i) for pieces of V that cover [0, n), the last one overlapping; V as wide as n
// allows.
template <int V, class F>
[[gnu::always_inline]] inline void cover(std::int64_t n, F&& f) {
  if constexpr (V == 1) {
    for (std::int64_t i = 0; i < n; ++i) f.template operator()<1>(i);
  } else {
    if (n < V) return cover < V == 4 ? 1 : V / 2 > (n, f);
    for (std::int64_t i = 0; i < n; i += V) f.template operator()<V>(min_of(i, n - V));
  }
}

constexpr int widest = lanes_of<float>;

// A call of memcpy costs more than a short row.
[[gnu::always_inline]] inline void copy_floats(float* to, const float* from, std::int64_t n) {
  cover<widest>(n, [=]<int V>(std::int64_t i) {
    if constexpr (V == 1)
      to[i] = from[i];
    else
      store<V>(to + i, load<V>(from + i));
  });
}

// A band of padded rows. Columns that no copy writes hold `pad` from the beginning.
struct Padded {
  float* data;
  std::int64_t row;   // floats from row to row
  std::int64_t half;  // stride 2: from the even columns to the odd ones
  float pad;
};

[[gnu::always_inline]] inline void set_floats(float* p, std::int64_t n, float value) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = value;
}

[[gnu::always_inline]] inline void copy_row(const Padded& to, std::int64_t local, const float* x,
                                            std::int64_t W, int stride) {
  float* row = to.data + local * to.row;
  if (stride == 1) return copy_floats(row + 1, x, W);
  float *even = row, *odd = row + to.half;
  cover<widest>(W / 2, [=]<int V>(std::int64_t i) {
    if constexpr (V == 1) {
      odd[i] = x[2 * i];
      even[i + 1] = x[2 * i + 1];
    } else {
      const auto a = load<V>(x + 2 * i), b = load<V>(x + 2 * i + V);
      store<V>(odd + i, __builtin_shuffle(a, b, Lanes<V>::even));
      store<V>(even + i + 1, __builtin_shuffle(a, b, Lanes<V>::odd));
    }
  });
  if (W % 2) odd[W / 2] = x[W - 1];
}

// Asks for n floats at p before they are needed: the loops go down the rows, where the processor foresees
// nothing.
template <int write>
[[gnu::always_inline]] inline void prefetch(const float* p, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) __builtin_prefetch(p + i, write, 3);
}

// What a plane looks like: its rows in the buffer, its vectors.
template <int V, int stride>
struct Shape {
  std::int64_t H, W, P, Q, half, row, band;  // band: output rows at a time
  Shape(std::int64_t height, std::int64_t width)
      : H(height), W(width), P((H - 1) / stride + 1), Q((W - 1) / stride + 1) {
    half = (max_of<std::int64_t>(V, Q) + 3 + 15) / 16 * 16;
    row = stride * half;
    band = max_of<std::int64_t>(4, min_of(P, 3072 / (row * stride)));
  }
  std::int64_t floats() const { return (band * stride + 3) * row; }
  Padded buffer(const Scratch<float>& scratch, float pad = 0) const {
    set_floats(scratch.data(), floats(), pad);
    return {scratch.data(), row, half, pad};
  }
  // f(first output row, its end) after the input of these rows is in the buffer; row 0 of the buffer lies
  // above the image. `also`: the plane of outputs that f reads or writes.
  template <int write, class F>
  [[gnu::always_inline]] void for_bands(const Padded& to, const float* x, const float* also, F&& f) const {
    for (std::int64_t i = 0; i < P; i += band) {
      const std::int64_t end = min_of(P, i + band), first = i * stride, last = (end - 1) * stride + 3;
      for (std::int64_t r = first; r < last; ++r) {
        if (r >= 1 && r <= H)
          copy_row(to, r - first, x + (r - 1) * W, W, stride);
        else if (band < P)  // else nothing was ever written there
          set_floats(to.data + (r - first) * to.row, to.row, to.pad);
        if (r < end * stride && r % stride == 0) prefetch<write>(also + r / stride * Q, Q);
      }
      f(i, end);
    }
  }
  // f(first column, lanes before it that the vector before has done)
  template <class F>
  [[gnu::always_inline]] void for_chunks(F&& f) const {
    for (std::int64_t q = 0; q < Q; q += V) {
      const std::int64_t at = max_of<std::int64_t>(0, min_of(q, Q - V));
      f(at, q - at);
    }
  }
};

template <int V, int stride>
struct Taps {
  using Vec = typename Lanes<V>::Vec;
  Vec l, c, r;
  [[gnu::always_inline]] Taps(const float* row, std::int64_t half) {
    l = load<V>(row);
    c = load<V>(stride == 1 ? row + 1 : row + half);
    r = load<V>(stride == 1 ? row + 2 : row + 1);
  }
  [[gnu::always_inline]] Vec times(const Vec* w) const { return w[0] * l + w[1] * c + w[2] * r; }
  [[gnu::always_inline]] Vec add_to(Vec sum, const Vec* w) const {
    sum += w[0] * l;
    sum += w[1] * c;
    return sum + w[2] * r;
  }
};

// f(i) for every plane i; some of them make a task.
template <class F>
void for_planes(std::int64_t planes, std::int64_t size, F&& f) {
  parallel_ranges(planes, max_of<std::int64_t>(1, 16384 / size), planes * size * 2, f);
}

// f.template operator()<V>() with the widest V <= 2 Q.
template <int V = widest, class F>
[[gnu::always_inline]] inline void with_lanes(std::int64_t Q, F&& f) {
  if constexpr (V > 4)
    if (2 * Q < V) return with_lanes<V / 2>(Q, f);
  f.template operator()<V>();
}

}  // namespace

}  // namespace weft::cpu::WEFT_ISA
