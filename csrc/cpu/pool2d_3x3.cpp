// Pooling with windows of 3x3, stride 1 or 2, padding 1, float32, on padded bands (plane_bands.h).
//
// Max and min are separable: the best of three columns in each row once, with its index, then the best of
// three rows. Padding is -inf (min: inf) and never wins, because a winner must be larger; so that a window of
// nothing but -inf still gets the index of its first element inside of the image, the index that padding
// would have is moved there. The average over windows that count their padding is a depthwise convolution
// with equal weights.
#include "cpu/pool2d_3x3.h"

#include "cpu/conv2d_depthwise.h"
#include "cpu/plane_bands.h"

namespace weft::cpu::WEFT_ISA {

namespace {

bool takes(const Pool2dParams& p) {
  return !p.adaptive && p.R == 3 && p.S == 3 && p.pad_h == 1 && p.pad_w == 1 && p.dilation_h == 1 &&
         p.dilation_w == 1 && p.stride_h == p.stride_w && (p.stride_h == 1 || p.stride_h == 2) &&
         p.N * p.C > 0 && p.P == (p.H - 1) / p.stride_h + 1 && p.Q == (p.W - 1) / p.stride_w + 1 && p.Q >= 2;
}

// The best of some elements, and where it is.
template <int V, bool minimum>
struct Best {
  using Vec = typename Lanes<V>::Vec;
  using Int = typename Lanes<V>::Int;
  Vec value;
  Int index;
  [[gnu::always_inline]] void meet(Vec v, Int i) {
    const Int wins = (minimum ? v < value : v > value) | (v != v);
    value = wins ? v : value;
    index = wins ? i : index;
  }
};

template <int V, int stride, bool minimum>
struct MaxColumns {
  using Vec = typename Lanes<V>::Vec;
  using Int = typename Lanes<V>::Int;
  using Found = Best<V, minimum>;
  Int left, first;  // column of the left tap; the same, moved into the image
  std::int64_t half;

  // The best of three columns in image row h, which lies at x.
  [[gnu::always_inline]] Found row(const float* x, std::int64_t h, std::int64_t W) const {
    const Taps<V, stride> taps(x, half);
    const auto base = static_cast<std::int32_t>(max_of<std::int64_t>(h, 0) * W);
    Found best{taps.l, first + base};
    best.meet(taps.c, left + (base + 1));
    best.meet(taps.r, left + (base + 2));
    return best;
  }
};

// One vector of columns of output rows [begin, end); the padded row of the first lies at x.
template <int V, int stride, bool minimum>
void max_chunk(const Shape<V, stride>& s, const float* x, std::int64_t q, std::int64_t begin,
               std::int64_t end, float* out, std::int32_t* index) {
  using Int = typename Lanes<V>::Int;
  using Found = Best<V, minimum>;
  const Int left = Lanes<V>::number * stride + static_cast<std::int32_t>(q * stride - 1);
  const MaxColumns<V, stride, minimum> columns{left, left < 0 ? Int{} : left, s.half};
  Found above = columns.row(x, begin * stride - 1, s.W), middle = above;
  if (stride == 1) {
    x += s.row;
    middle = columns.row(x, begin, s.W);
  }
  for (std::int64_t i = begin; i < end; ++i) {
    if (stride == 2) {
      x += s.row;
      middle = columns.row(x, 2 * i, s.W);
    }
    x += s.row;
    const Found below = columns.row(x, i * stride + 1, s.W);
    Found best = above;
    best.meet(middle.value, middle.index);
    best.meet(below.value, below.index);
    float* to = out + i * s.Q + q;
    std::int32_t* at = index + i * s.Q + q;
    if (s.Q < V && i == s.P - 1) {
      store_first<V>(to, best.value, s.Q);
      for (int j = 0; j < s.Q; ++j) at[j] = best.index[j];
    } else {
      store<V>(to, best.value);
      __builtin_memcpy(at, &best.index, sizeof(Int));
    }
    above = stride == 1 ? middle : below;
    middle = below;
  }
}

template <int V, int stride, bool minimum>
void max_pool(const MaxPool2dArgs& a) {
  const Pool2dParams& p = a.p;
  const Shape<V, stride> s(p.H, p.W);
  const float pad = minimum ? __builtin_inff() : -__builtin_inff();
  for_planes(p.N * p.C, p.H * p.W, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<float> scratch(s.floats());
    const Padded buffer = s.buffer(scratch, pad);
    for (std::int64_t plane = begin; plane < end; ++plane) {
      const float* x = static_cast<const float*>(a.x) + plane * p.H * p.W;
      float* out = static_cast<float*>(a.out) + plane * p.P * p.Q;
      std::int32_t* index = a.index + plane * p.P * p.Q;
      s.template for_bands<1>(buffer, x, out, [&](std::int64_t i, std::int64_t last) {
        s.for_chunks([&](std::int64_t q, std::int64_t) {
          max_chunk<V, stride, minimum>(s, buffer.data + q, q, i, last, out, index);
        });
      });
    }
  });
}

template <int stride>
void max_pool_any(const MaxPool2dArgs& a) {
  with_lanes(a.p.Q,
             [&]<int V>() { a.minimum ? max_pool<V, stride, true>(a) : max_pool<V, stride, false>(a); });
}

}  // namespace

bool max_pool2d_3x3_forward(const MaxPool2dArgs& a) {
  if (a.dtype != DType::float32 || !a.index || !takes(a.p)) return false;
  a.p.stride_h == 1 ? max_pool_any<1>(a) : max_pool_any<2>(a);
  return true;
}

bool avg_pool2d_3x3(const AvgPool2dArgs& a, bool backward) {
  const Pool2dParams& p = a.p;
  if (a.dtype != DType::float32 || !takes(p) || (!a.count_include_pad && !a.divisor_override)) return false;
  float weight[9];
  for (float& w : weight) w = 1.0f / static_cast<float>(a.divisor_override ? a.divisor_override : 9);
  Conv2dParams planes{};  // each plane an image of one channel
  planes.N = p.N * p.C;
  planes.C = planes.K = planes.groups = 1;
  planes.H = p.H, planes.W = p.W, planes.P = p.P, planes.Q = p.Q;
  planes.R = planes.S = 3;
  planes.stride_h = planes.stride_w = p.stride_h;
  planes.pad_top = planes.pad_bottom = planes.pad_left = planes.pad_right = 1;
  planes.dilation_h = planes.dilation_w = 1;
  if (backward) {
    Conv2dBackwardInputArgs given{};
    given.p = planes;
    given.dtype = a.dtype;
    given.dx = a.dst;
    given.dout = a.src;
    given.weight = weight;
    return conv2d_depthwise_3x3_backward_input(given);
  }
  Conv2dForwardArgs given{};
  given.p = planes;
  given.dtype = a.dtype;
  given.out = a.dst;
  given.x = a.src;
  given.weight = weight;
  given.activation = Activation::none;
  return conv2d_depthwise_3x3_forward(given);
}

}  // namespace weft::cpu::WEFT_ISA
