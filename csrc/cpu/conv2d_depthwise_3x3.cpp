// Depthwise convolution, 3x3, stride 1 or 2, padding 1, float32: the windows of MobileNet's layers.
//
// Walking down the rows of a padded band (plane_bands.h), the three vectors of an input row are used at once
// for every output row that they belong to: 9 multiplications for 3 (stride 1) or 6 (stride 2) loads. The
// gradient by the input is for stride 1 the same with the filter turned round; for stride 2 each of the four
// parities of (row, column) has its own taps. The gradient by the weight keeps 9 sums of V lanes, one partial
// sum for each image, added in order.
#include "cpu/conv2d_depthwise.h"
#include "cpu/plane_bands.h"

namespace weft::cpu::WEFT_ISA {

namespace {

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
    set_floats(scratch.data(), (p.P + 1) * row, 0);
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
    if (n + 1 < p.N) {  // the next image's planes lie far away
      prefetch<0>(x + p.C * p.H * p.W, min_of<std::int64_t>(p.H * p.W, 1024));
      prefetch<0>(dout + p.K * p.P * p.Q, min_of<std::int64_t>(p.P * p.Q, 1024));
    }
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
