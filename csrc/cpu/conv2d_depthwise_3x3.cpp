// Depthwise convolution, 3x3, stride 1 or 2, padding 1, float32: the windows of MobileNet's layers.
//
// A band of an input plane is copied into a padded buffer in the first-level cache, so that the loops know no
// border; for stride 2 the copy also parts even from odd columns. Then the three columns that a vector of V
// neighbouring outputs needs from an input row are three loads,
//
//   stride 1   l, c, r = row[q], row[q+1], row[q+2]     row: 0, x[0], x[1], ..., 0
//   stride 2   l, c, r = E[q], O[q], E[q+1]             E: 0, x[1], x[3], ...   O: x[0], x[2], ...
//
// and walking down the rows each of them is used at once for every output row that it belongs to: 9
// multiplications for 3 (stride 1) or 6 (stride 2) loads. The gradient by the input is for stride 1 the same
// with the filter turned round; for stride 2 each of the four parities of (row, column) has its own taps.
// The gradient by the weight keeps 9 sums of V lanes, one partial sum for each image, added in order.
//
// V is the widest vector of at most twice the row; a row that V does not divide ends in a vector that
// overlaps the one before. Where the row is shorter than V, the store runs over into the next row, which is
// written afterwards; only the last row of a plane is written in part.
#include "cpu/conv2d_depthwise.h"
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

// A band of padded rows. Columns that no copy writes are zero from the beginning.
struct Padded {
  float* data;
  std::int64_t row;   // floats from row to row
  std::int64_t half;  // stride 2: from the even columns to the odd ones
};

void zero(float* p, std::int64_t n) { __builtin_memset(p, 0, static_cast<std::size_t>(n) * sizeof(float)); }

void copy_row(const Padded& to, std::int64_t local, const float* x, std::int64_t W, int stride) {
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
  Padded buffer(const Scratch<float>& scratch) const {
    zero(scratch.data(), floats());
    return {scratch.data(), row, half};
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
          zero(to.data + (r - first) * to.row, to.row);
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

// One vector of columns of `rows` output rows. `partial`: how many lanes of the last row are stored, or 0 for
// all.
template <int V, int stride, bool relu>
void forward_chunk(const float* x, std::int64_t row, std::int64_t half, const float* weight, float bias,
                   float* out, std::int64_t Q, std::int64_t rows, std::int64_t partial) {
  using Vec = typename Lanes<V>::Vec;
  using Row = Taps<V, stride>;
  const Vec b = all_lanes<V>(bias), none = {};
  Vec w[9];
  for (int t = 0; t < 9; ++t) w[t] = all_lanes<V>(weight[t]);
  Vec sum = Row(x, half).add_to(b, w), next = b;
  x += row;
  if (stride == 1) {
    const Row second(x, half);
    sum = second.add_to(sum, w + 3);
    next = second.add_to(b, w);
    x += row;
  }
  for (std::int64_t i = 0; i < rows; ++i, out += Q) {
    if (stride == 2) {
      sum = Row(x, half).add_to(sum, w + 3);
      x += row;
    }
    const Row last(x, half);
    x += row;
    Vec y = last.add_to(sum, w + 6);
    if (relu) y = y <= none ? none : y;
    if (partial && i == rows - 1)
      store_first<V>(out, y, partial);
    else
      store<V>(out, y);
    sum = stride == 1 ? last.add_to(next, w + 3) : last.add_to(b, w);
    next = last.add_to(b, w);
  }
}

// A plane; weight: 9 values.
template <int V, int stride>
void forward_plane(const Shape<V, stride>& s, const Padded& buffer, const float* x, const float* weight,
                   float bias, bool relu, float* out) {
  const auto chunk = relu ? forward_chunk<V, stride, true> : forward_chunk<V, stride, false>;
  s.template for_bands<1>(buffer, x, out, [&](std::int64_t i, std::int64_t end) {
    s.for_chunks([&](std::int64_t q, std::int64_t) {
      chunk(buffer.data + q, s.row, s.half, weight, bias, out + i * s.Q + q, s.Q, end - i,
            end == s.P && s.Q < V ? s.Q : 0);
    });
  });
}

// f(i) for every plane i; some planes make a task.
template <class F>
void for_planes(std::int64_t planes, std::int64_t size, F&& f) {
  parallel_ranges(planes, max_of<std::int64_t>(1, 16384 / size), planes * size * 2, f);
}

template <int V, int stride>
void forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  const Shape<V, stride> s(p.H, p.W);
  const std::int64_t each = p.K / p.C;
  for_planes(p.N * p.K, p.H * p.W, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<float> scratch(s.floats());
    const Padded buffer = s.buffer(scratch);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t n = i / p.K, k = i % p.K;
      forward_plane(s, buffer, static_cast<const float*>(a.x) + (n * p.C + k / each) * p.H * p.W,
                    static_cast<const float*>(a.weight) + k * 9,
                    a.bias ? static_cast<const float*>(a.bias)[k] : 0.0f, a.activation == Activation::relu,
                    static_cast<float*>(a.out) + i * s.P * s.Q);
    }
  });
}

template <int V>
void backward_input_1(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  const Shape<V, 1> s(p.H, p.W);
  for_planes(p.N * p.C, p.H * p.W, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<float> scratch(s.floats());
    const Padded buffer = s.buffer(scratch);
    for (std::int64_t i = begin; i < end; ++i) {
      float turned[9];
      for (int t = 0; t < 9; ++t) turned[t] = static_cast<const float*>(a.weight)[i % p.C * 9 + 8 - t];
      forward_plane(s, buffer, static_cast<const float*>(a.dout) + i * p.H * p.W, turned, 0.0f, false,
                    static_cast<float*>(a.dx) + i * p.H * p.W);
    }
  });
}

// Stores 2V values, a and b in turns. `partial` as in forward_chunk.
template <int V>
[[gnu::always_inline]] inline void store_zipped(float* to, typename Lanes<V>::Vec a, typename Lanes<V>::Vec b,
                                                std::int64_t partial) {
  const auto low = __builtin_shuffle(a, b, Lanes<V>::low), high = __builtin_shuffle(a, b, Lanes<V>::high);
  if (partial) {
    store_first<V>(to, low, min_of<std::int64_t>(V, partial));
    if (partial > V) store_first<V>(to + V, high, partial - V);
  } else {
    store<V>(to, low);
    store<V>(to + V, high);
  }
}

// dx[2i+a][2q+b] of a vector of columns q, from rows i and i + 1 of dout, which begin at d.
template <int V>
void input_chunk(const float* d, std::int64_t row, const float* weight, float* dx, std::int64_t W,
                 std::int64_t H, std::int64_t partial) {
  using Vec = typename Lanes<V>::Vec;
  Vec w[9];
  for (int t = 0; t < 9; ++t) w[t] = all_lanes<V>(weight[t]);
  Vec c = load<V>(d), r = load<V>(d + 1);
  for (std::int64_t h = 0; h < H; h += 2, dx += 2 * W) {
    d += row;
    const Vec below = load<V>(d), right = load<V>(d + 1);
    store_zipped<V>(dx, w[4] * c, w[5] * c + w[3] * r, h + 1 == H ? partial : 0);
    if (h + 1 < H)
      store_zipped<V>(dx + W, w[7] * c + w[1] * below, (w[8] * c + w[6] * r) + (w[2] * below + w[0] * right),
                      h + 2 == H ? partial : 0);
    c = below;
    r = right;
  }
}

template <int V>
void backward_input_2(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  const std::int64_t row = (max_of<std::int64_t>(V, p.Q) + 1 + 15) / 16 * 16;
  for_planes(p.N * p.C, p.H * p.W, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<float> scratch((p.P + 1) * row);
    zero(scratch.data(), (p.P + 1) * row);
    for (std::int64_t i = begin; i < end; ++i) {
      const float* dout = static_cast<const float*>(a.dout) + i * p.P * p.Q;
      for (std::int64_t j = 0; j < p.P; ++j) copy_floats(scratch.data() + j * row, dout + j * p.Q, p.Q);
      float* dx = static_cast<float*>(a.dx) + i * p.H * p.W;
      for (std::int64_t q = 0; q < p.Q; q += V) {
        const std::int64_t at = max_of<std::int64_t>(0, min_of(q, p.Q - V));
        input_chunk<V>(scratch.data() + at, row, static_cast<const float*>(a.weight) + i % p.C * 9,
                       dx + 2 * at, p.W, p.H, 2 * p.Q != p.W || p.Q < V ? p.W - 2 * at : 0);
      }
    }
  });
}

// A vector of dout with zeros in the lanes that don't count. `from`: how many lanes count from a row's start.
template <int V>
struct DoutRows {
  using Vec = typename Lanes<V>::Vec;
  using Int = typename Lanes<V>::Int;
  const float* dout;
  std::int64_t Q, rows, partial;  // partial: lanes of the plane's last row that may be read, or 0 for all
  Int mask;
  [[gnu::always_inline]] Vec operator()(std::int64_t i) const {
    Vec v;
    if (partial && i == rows - 1) {
      float all[V] = {};
      for (std::int64_t j = 0; j < partial; ++j) all[j] = dout[i * Q + j];
      v = load<V>(all);
    } else {
      v = load<V>(dout + i * Q);
    }
    return reinterpret_cast<Vec>(reinterpret_cast<Int>(v) & mask);
  }
};

// acc[t] += dout times the taps t = 3r + s, over `rows` output rows; acc[9] += dout.
template <int V, int stride>
void weight_chunk(const float* x, std::int64_t row, std::int64_t half, const DoutRows<V>& dout,
                  typename Lanes<V>::Vec* acc) {
  using Vec = typename Lanes<V>::Vec;
  using Row = Taps<V, stride>;
  Vec sum[10];
  for (int t = 0; t < 10; ++t) sum[t] = acc[t];
  const auto add = [&](const Row& taps, Vec d, int t) __attribute__((always_inline)) {
    sum[t] += d * taps.l;
    sum[t + 1] += d * taps.c;
    sum[t + 2] += d * taps.r;
  };
  Vec d = dout(0), before = {};
  {
    const Row first(x, half);
    add(first, d, 0);
  }
  for (std::int64_t i = 0; i < dout.rows; ++i) {
    x += row;
    sum[9] += d;
    const Vec next = i + 1 < dout.rows ? dout(i + 1) : Vec{};
    const Row taps(x, half);
    add(taps, d, 3);
    if (stride == 1) {
      add(taps, next, 0);
      add(taps, before, 6);
      before = d;
    } else {
      x += row;
      const Row last(x, half);
      add(last, d, 6);
      add(last, next, 0);
    }
    d = next;
  }
  if (stride == 1) add(Row(x + row, half), before, 6);
  for (int t = 0; t < 10; ++t) acc[t] = sum[t];
}

// One filter over all images: the sums of each image, then their sum.
template <int V, int stride>
void weight_filter(const Conv2dBackwardWeightArgs& a, const Shape<V, stride>& s, const Padded& buffer,
                   std::int64_t k) {
  using Vec = typename Lanes<V>::Vec;
  const Conv2dParams& p = a.p;
  Vec total[10] = {};
  for (std::int64_t n = 0; n < p.N; ++n) {
    Vec acc[10] = {};
    const float* dout = static_cast<const float*>(a.dout) + (n * p.K + k) * p.P * p.Q;
    const float* x = static_cast<const float*>(a.x) + (n * p.C + k / (p.K / p.C)) * p.H * p.W;
    s.template for_bands<0>(buffer, x, dout, [&](std::int64_t i, std::int64_t end) {
      s.for_chunks([&](std::int64_t q, std::int64_t done) {
        const auto first = static_cast<std::int32_t>(done), last = static_cast<std::int32_t>(s.Q - q);
        const DoutRows<V> rows{dout + i * s.Q + q, s.Q, end - i, end == s.P && s.Q < V ? s.Q : 0,
                               (Lanes<V>::number >= first) & (Lanes<V>::number < last)};
        weight_chunk<V, stride>(buffer.data + q, s.row, s.half, rows, acc);
      });
    });
    for (int t = 0; t < 10; ++t) total[t] += acc[t];
  }
  for (int t = 0; t < 10; ++t) {
    float lane[V];
    store<V>(lane, total[t]);
    for (int half = V / 2; half > 0; half /= 2)
      for (int j = 0; j < half; ++j) lane[j] += lane[j + half];
    if (t < 9)
      static_cast<float*>(a.dw)[k * 9 + t] = lane[0];
    else if (a.db)
      static_cast<float*>(a.db)[k] = lane[0];
  }
}

template <int V, int stride>
void backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const Shape<V, stride> s(p.H, p.W);
  const std::int64_t size = p.N * p.H * p.W;
  for_planes(p.K, size, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<float> scratch(s.floats());
    const Padded buffer = s.buffer(scratch);
    for (std::int64_t k = begin; k < end; ++k) weight_filter<V, stride>(a, s, buffer, k);
  });
}

bool takes(const Conv2dParams& p, DType dtype) {
  return dtype == DType::float32 && p.groups == p.C && p.R == 3 && p.S == 3 && p.dilation_h == 1 &&
         p.dilation_w == 1 && p.pad_top == 1 && p.pad_left == 1 && p.stride_h == p.stride_w &&
         (p.stride_h == 1 || p.stride_h == 2) && p.P == (p.H - 1) / p.stride_h + 1 &&
         p.Q == (p.W - 1) / p.stride_w + 1 && p.Q >= 2;
}

// f.template operator()<V>() with the widest V <= 2 Q.
template <int V = widest, class F>
[[gnu::always_inline]] inline void with_lanes(std::int64_t Q, F&& f) {
  if constexpr (V > 4)
    if (2 * Q < V) return with_lanes<V / 2>(Q, f);
  f.template operator()<V>();
}

}  // namespace

bool conv2d_depthwise_3x3_forward(const Conv2dForwardArgs& a) {
  if (!takes(a.p, a.dtype)) return false;
  with_lanes(a.p.Q, [&]<int V>() { a.p.stride_h == 1 ? forward<V, 1>(a) : forward<V, 2>(a); });
  return true;
}

bool conv2d_depthwise_3x3_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype) || p.K != p.C) return false;
  if (p.stride_h == 1) {
    with_lanes(p.Q, [&]<int V>() { backward_input_1<V>(a); });
    return true;
  }
  // An odd row ends in the middle of a pair: only a row of one vector may run over into the next.
  if (p.W < 4 || (p.W % 2 && p.Q > widest)) return false;
  with_lanes(p.W / 2, [&]<int V>() { backward_input_2<V>(a); });
  return true;
}

bool conv2d_depthwise_3x3_backward_weight(const Conv2dBackwardWeightArgs& a) {
  if (!takes(a.p, a.dtype)) return false;
  with_lanes(a.p.Q,
             [&]<int V>() { a.p.stride_h == 1 ? backward_weight<V, 1>(a) : backward_weight<V, 2>(a); });
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
