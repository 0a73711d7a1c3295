// Convolution as a matrix product. For rows p0..p1 of one image and group, columns[c r s][p q] holds the
// input that each tap meets at each output position; then
//
//   out      [K/G, PQ] = weight [K/G, CRS/G] columns [CRS/G, PQ]
//   dcolumns [CRS/G, PQ] = weight^T dout, added back to where the columns came from
//   dw       [K/G, CRS/G] = dout columns^T, summed over images
//
// The columns of a whole batch would be R S times the input and leave every cache; here at most `piece`
// numbers exist at a time, one set per thread. A 1x1 kernel with stride 1 and no padding needs no columns:
// the image is the matrix. Takes every stride, padding, dilation and group; float32 and float64. Source:
// Chellapilla, Puri, Simard, "High performance convolutional neural networks for document processing", 2006.
#include "cpu/conv2d_im2col.h"

#include "cpu/conv2d_columns.h"
#include "cpu/conv2d_gradient.h"
#include "cpu/gemm/multiply.h"
#include "cpu/scratch.h"
#include "cpu/simd/lanes.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t piece = 64 * 1024;  // numbers of columns at a time: they stay in the L2 cache

struct Shape {
  explicit Shape(const Conv2dParams& p)
      : c(p.C / p.groups),
        k(p.K / p.groups),
        taps(c * p.R * p.S),
        direct(p.R == 1 && p.S == 1 && p.stride_h == 1 && p.stride_w == 1 && p.pad_top == 0 &&
               p.pad_bottom == 0 && p.pad_left == 0 && p.pad_right == 0),
        rows(max_of<std::int64_t>(1, min_of(p.P, piece / max_of<std::int64_t>(1, taps * p.Q)))) {
    if (direct) rows = ceil_div(p.P, min_of(p.P, ceil_div(16, p.N)));
    pieces = ceil_div(p.P, rows);
  }
  std::int64_t c, k, taps;    // of one group
  bool direct;                // the image itself is the matrix of columns
  std::int64_t rows, pieces;  // output rows of a piece, pieces of an image
};

// to[i] = from[i * stride] for i < n; nothing behind from[(n - 1) * stride] is read.
template <class T>
[[gnu::always_inline]] inline void copy_row(T* to, const T* from, std::int64_t n, std::int64_t stride) {
  constexpr std::int64_t L = lanes_of<T>;
  if (stride > 2) {
    for (std::int64_t i = 0; i < n; ++i) to[i] = from[i * stride];
    return;
  }
  for (std::int64_t i = 0; i < n; i += L) {
    const std::int64_t count = min_of(L, n - i), reach = count * stride - (stride - 1);
    if (stride == 1) {
      store_some<T>(to + i, load_some<T>(from + i, count), count);
    } else {
      const auto low = load_some<T>(from + 2 * i, min_of(L, reach));
      const auto high = load_some<T>(from + 2 * i + (reach > L ? L : 0), max_of<std::int64_t>(0, reach - L));
      store_some<T>(to + i, even_lanes<T>(low, high), count);
    }
  }
}

// to[i * stride] += from[i] for i < n.
template <class T>
[[gnu::always_inline]] inline void add_row_to(T* to, const T* from, std::int64_t n, std::int64_t stride) {
  constexpr std::int64_t L = lanes_of<T>;
  if (stride > 2) {
    for (std::int64_t i = 0; i < n; ++i) to[i * stride] += from[i];
    return;
  }
  for (std::int64_t i = 0; i < n; i += L) {
    const std::int64_t count = min_of(L, n - i), reach = count * stride - (stride - 1);
    const auto v = load_some<T>(from + i, count);
    if (stride == 1) {
      store_some<T>(to + i, load_some<T>(to + i, count) + v, count);
    } else {
      const typename VecOf<T>::type zero = {};
      T* low = to + 2 * i;
      store_some<T>(low, load_some<T>(low, min_of(L, reach)) + interleave<T>(v, zero, 0), min_of(L, reach));
      if (reach > L)
        store_some<T>(low + L, load_some<T>(low + L, reach - L) + interleave<T>(v, zero, 1), reach - L);
    }
  }
}

// columns[(c r s)][(p - p0) Q + q]; x is the image's first channel.
template <class T>
void make_columns(const Conv2dParams& p, std::int64_t channels, const T* x, std::int64_t p0, std::int64_t p1,
                  T* columns) {
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t r = 0; r < p.R; ++r)
      for (std::int64_t s = 0; s < p.S; ++s) {
        const Columns in(p, s);
        for (std::int64_t row = p0; row < p1; ++row, columns += p.Q) {
          const std::int64_t h = row * p.stride_h + r * p.dilation_h - p.pad_top;
          if (h < 0 || h >= p.H) {
            for (std::int64_t q = 0; q < p.Q; ++q) columns[q] = 0;
            continue;
          }
          const T* from = x + (c * p.H + h) * p.W + in.shift;
          for (std::int64_t q = 0; q < in.begin; ++q) columns[q] = 0;
          copy_row<T>(columns + in.begin, from + in.begin * p.stride_w, in.end - in.begin, p.stride_w);
          for (std::int64_t q = in.end; q < p.Q; ++q) columns[q] = 0;
        }
      }
}

// dx += columns, each back to its place.
template <class T>
void add_columns(const Conv2dParams& p, std::int64_t channels, const T* columns, std::int64_t p0,
                 std::int64_t p1, T* dx) {
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t r = 0; r < p.R; ++r)
      for (std::int64_t s = 0; s < p.S; ++s) {
        const Columns in(p, s);
        for (std::int64_t row = p0; row < p1; ++row, columns += p.Q) {
          const std::int64_t h = row * p.stride_h + r * p.dilation_h - p.pad_top;
          if (h < 0 || h >= p.H) continue;
          T* to = dx + (c * p.H + h) * p.W + in.shift;
          add_row_to<T>(to + in.begin * p.stride_w, columns + in.begin, in.end - in.begin, p.stride_w);
        }
      }
}

// C[M,N] (rows c_stride apart) = A B, or += with beta = 1.
template <class T>
GemmArgs product(std::int64_t M, std::int64_t N, std::int64_t K, Matrix a, Matrix b, Matrix c, double beta) {
  return {dtype_of<T>::value, dtype_of<T>::value, 1, M, N, K, 1, beta, a, b, c, nullptr,
          BiasAxis::none,     Activation::none,   0};
}

// moved: bytes of the whole operation.
template <class T>
void run(const GemmArgs& g, bool relu = false, std::int64_t moved = 0) {
  multiply({g.M, g.N, g.K, static_cast<const T*>(g.a.data), g.a.row_stride, g.a.column_stride,
            static_cast<const T*>(g.b.data), g.b.row_stride, g.b.column_stride, static_cast<T*>(g.c.data),
            g.c.row_stride, static_cast<T>(g.alpha), static_cast<T>(g.beta), static_cast<const T*>(g.bias),
            g.bias_axis, relu, moved});
}

template <class T>
Matrix matrix(const T* data, std::int64_t row_stride, std::int64_t column_stride) {
  return {const_cast<T*>(data), row_stride, column_stride, 0};
}

std::int64_t work_of(const Conv2dParams& p, const Shape& shape) {
  return p.N * p.K * shape.taps * p.P * p.Q / 8;
}

template <class T>
void forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  const Shape shape(p);
  const std::int64_t plane = p.P * p.Q;
  const std::int64_t moved = (p.N * (p.C * p.H * p.W + p.K * plane)) * static_cast<std::int64_t>(sizeof(T));
  const auto task = [&](std::int64_t n, std::int64_t g, std::int64_t row, T* columns) {
    const std::int64_t p0 = row * shape.rows, p1 = min_of(p.P, p0 + shape.rows), positions = (p1 - p0) * p.Q;
    const T* x = static_cast<const T*>(a.x) + (n * p.C + g * shape.c) * p.H * p.W;
    if (!shape.direct) make_columns(p, shape.c, x, p0, p1, columns);
    const Matrix b = shape.direct ? matrix(x + p0 * p.Q, p.H * p.W, 1) : matrix<T>(columns, positions, 1);
    T* out = static_cast<T*>(a.out) + (n * p.K + g * shape.k) * plane + p0 * p.Q;
    GemmArgs gemm =
        product<T>(shape.k, positions, shape.taps,
                   matrix(static_cast<const T*>(a.weight) + g * shape.k * shape.taps, shape.taps, 1), b,
                   matrix<T>(out, plane, 1), 0);
    if (a.bias) {
      gemm.bias = static_cast<const T*>(a.bias) + g * shape.k;
      gemm.bias_axis = BiasAxis::row;
    }
    run<T>(gemm, a.activation == Activation::relu, moved);
  };
  parallel_tasks(p.N * p.groups * shape.pieces, work_of(p, shape), [&](std::int64_t i) {
    const Scratch<T> columns(shape.direct ? 0 : shape.taps * shape.rows * p.Q);
    task(i / (shape.pieces * p.groups), i / shape.pieces % p.groups, i % shape.pieces, columns.data());
  });
}

template <class T>
void backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  const Shape shape(p);
  const std::int64_t plane = p.P * p.Q;
  parallel_tasks(p.N * p.groups, work_of(p, shape), [&](std::int64_t i) {
    const std::int64_t n = i / p.groups, g = i % p.groups;
    T* dx = static_cast<T*>(a.dx) + (n * p.C + g * shape.c) * p.H * p.W;
    const T* dout = static_cast<const T*>(a.dout) + (n * p.K + g * shape.k) * plane;
    const Matrix turned = matrix(static_cast<const T*>(a.weight) + g * shape.k * shape.taps, 1, shape.taps);
    if (shape.direct) {
      run<T>(
          product<T>(shape.taps, plane, shape.k, turned, matrix(dout, plane, 1), matrix<T>(dx, plane, 1), 0));
      return;
    }
    for (std::int64_t j = 0; j < shape.c * p.H * p.W; ++j) dx[j] = 0;
    const Scratch<T> columns(shape.taps * shape.rows * p.Q);
    for (std::int64_t p0 = 0; p0 < p.P; p0 += shape.rows) {
      const std::int64_t p1 = min_of(p.P, p0 + shape.rows), positions = (p1 - p0) * p.Q;
      run<T>(product<T>(shape.taps, positions, shape.k, turned, matrix(dout + p0 * p.Q, plane, 1),
                        matrix<T>(columns.data(), positions, 1), 0));
      add_columns<T>(p, shape.c, columns.data(), p0, p1, dx);
    }
  });
}

// dw of one image for `count` input channels from c0 on of the group g, added to (or, with beta = 0, written
// to) the sums.
template <class T>
void add_image(const Conv2dBackwardWeightArgs& a, const Shape& shape, std::int64_t n, std::int64_t g,
               std::int64_t c0, std::int64_t count, double beta, T* dw, T* columns) {
  const Conv2dParams& p = a.p;
  const std::int64_t plane = p.P * p.Q, filter = p.R * p.S, taps = count * filter;
  const T* x = static_cast<const T*>(a.x) + (n * p.C + g * shape.c + c0) * p.H * p.W;
  const T* dout = static_cast<const T*>(a.dout) + (n * p.K + g * shape.k) * plane;
  const std::int64_t rows = shape.direct ? p.P : max_of<std::int64_t>(1, min_of(p.P, piece / (taps * p.Q)));
  for (std::int64_t p0 = 0; p0 < p.P; p0 += rows) {
    const std::int64_t p1 = min_of(p.P, p0 + rows), positions = (p1 - p0) * p.Q;
    if (!shape.direct) make_columns(p, count, x, p0, p1, columns);
    const Matrix turned = shape.direct ? matrix(x, 1, p.H * p.W) : matrix<T>(columns, 1, positions);
    run<T>(product<T>(shape.k, taps, positions, matrix(dout + p0 * p.Q, plane, 1), turned,
                      matrix<T>(dw + g * shape.k * shape.taps + c0 * filter, shape.taps, 1),
                      p0 > 0 ? 1 : beta));
  }
}

template <class T>
void backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const Shape shape(p);
  const GradientCut cut(p);
  const std::int64_t weights = p.K * shape.taps;
  auto* dw = static_cast<T*>(a.dw);
  const Scratch<T> partial(cut.groups > 1 ? cut.groups * weights : 0);
  parallel_tasks(cut.groups * p.groups * cut.blocks, work_of(p, shape), [&](std::int64_t task) {
    const std::int64_t c0 = task % cut.blocks * cut.channels, count = min_of(cut.channels, shape.c - c0);
    const std::int64_t g = task / cut.blocks % p.groups, group = task / (cut.blocks * p.groups);
    const std::int64_t taps = count * p.R * p.S;
    const Scratch<T> columns(shape.direct ? 0 : max_of(piece, taps * p.Q));
    T* sums = cut.groups > 1 ? partial.data() + group * weights : dw;
    const std::int64_t first = p.N * group / cut.groups, last = p.N * (group + 1) / cut.groups;
    for (std::int64_t n = first; n < last; ++n)
      add_image<T>(a, shape, n, g, c0, count, n > first ? 1 : 0, sums, columns.data());
  });
  if (a.db) conv2d_sum_bias<T>(a);
  if (cut.groups > 1) conv2d_sum_groups<T>(partial.data(), cut.groups, weights, dw);
}

}  // namespace

void conv2d_im2col_forward(const Conv2dForwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) { forward<typename decltype(type)::type>(a); });
}

void conv2d_im2col_backward_input(const Conv2dBackwardInputArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) { backward_input<typename decltype(type)::type>(a); });
}

void conv2d_im2col_backward_weight(const Conv2dBackwardWeightArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) { backward_weight<typename decltype(type)::type>(a); });
}

}  // namespace weft::cpu::WEFT_ISA
