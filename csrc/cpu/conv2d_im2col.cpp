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
#include "cpu/gemm/multiply.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t piece = 64 * 1024;  // numbers of columns at a time: they stay in the L2 cache

struct Shape {
  explicit Shape(const Conv2dParams& p)
      : c(p.C / p.groups),
        k(p.K / p.groups),
        taps(c * p.R * p.S),
        rows(max_of<std::int64_t>(1, min_of(p.P, piece / max_of<std::int64_t>(1, taps * p.Q)))),
        pieces(ceil_div(p.P, rows)),
        direct(p.R == 1 && p.S == 1 && p.stride_h == 1 && p.stride_w == 1 && p.pad_top == 0 &&
               p.pad_bottom == 0 && p.pad_left == 0 && p.pad_right == 0) {}
  std::int64_t c, k, taps;    // of one group
  std::int64_t rows, pieces;  // output rows of a piece, pieces of an image
  bool direct;                // the image itself is the matrix of columns
};

// columns[(c r s)][(p - p0) Q + q]; x is the image's first channel of the group.
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
          if (p.stride_w == 1)
            for (std::int64_t q = in.begin; q < in.end; ++q) columns[q] = from[q];
          else
            for (std::int64_t q = in.begin; q < in.end; ++q) columns[q] = from[q * p.stride_w];
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
          if (p.stride_w == 1)
            for (std::int64_t q = in.begin; q < in.end; ++q) to[q] += columns[q];
          else
            for (std::int64_t q = in.begin; q < in.end; ++q) to[q * p.stride_w] += columns[q];
        }
      }
}

// C[M,N] (rows c_stride apart) = A B, or += with beta = 1.
template <class T>
GemmArgs product(std::int64_t M, std::int64_t N, std::int64_t K, Matrix a, Matrix b, Matrix c, double beta) {
  return {dtype_of<T>::value, 1, M, N, K, 1, beta, a, b, c, nullptr, BiasAxis::none, Activation::none, 0};
}

template <class T>
void run(const GemmArgs& g, bool relu = false) {
  multiply({g.M, g.N, g.K, static_cast<const T*>(g.a.data), g.a.row_stride, g.a.column_stride,
            static_cast<const T*>(g.b.data), g.b.row_stride, g.b.column_stride, static_cast<T*>(g.c.data),
            g.c.row_stride, static_cast<T>(g.alpha), static_cast<T>(g.beta), static_cast<const T*>(g.bias),
            g.bias_axis, relu});
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
    run<T>(gemm, a.activation == Activation::relu);
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

// dw and db of one image, added to (or, with beta = 0, written to) the sums.
template <class T>
void add_image(const Conv2dBackwardWeightArgs& a, const Shape& shape, std::int64_t n, double beta, T* dw,
               T* db, T* columns) {
  const Conv2dParams& p = a.p;
  const std::int64_t plane = p.P * p.Q;
  for (std::int64_t g = 0; g < p.groups; ++g) {
    const T* x = static_cast<const T*>(a.x) + (n * p.C + g * shape.c) * p.H * p.W;
    const T* dout = static_cast<const T*>(a.dout) + (n * p.K + g * shape.k) * plane;
    for (std::int64_t p0 = 0; p0 < p.P; p0 += shape.rows) {
      const std::int64_t p1 = min_of(p.P, p0 + shape.rows), positions = (p1 - p0) * p.Q;
      if (!shape.direct) make_columns(p, shape.c, x, p0, p1, columns);
      const Matrix turned =
          shape.direct ? matrix(x + p0 * p.Q, 1, p.H * p.W) : matrix<T>(columns, 1, positions);
      run<T>(product<T>(shape.k, shape.taps, positions, matrix(dout + p0 * p.Q, plane, 1), turned,
                        matrix<T>(dw + g * shape.k * shape.taps, shape.taps, 1), p0 > 0 ? 1 : beta));
    }
  }
  const T* dout = static_cast<const T*>(a.dout) + n * p.K * plane;
  for (std::int64_t k = 0; k < p.K; ++k) {
    T total = 0;
    for (std::int64_t i = 0; i < plane; ++i) total += dout[k * plane + i];
    db[k] = (beta != 0 ? db[k] : T(0)) + total;
  }
}

template <class T>
void backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const Shape shape(p);
  const std::int64_t weights = p.K * shape.taps, sums = weights + p.K;
  // Images are summed in groups; as many groups as keep their sums within 16 MiB.
  const std::int64_t fit = max_of<std::int64_t>(1, (std::int64_t{1} << 22) / sums);
  const std::int64_t groups = min_of(p.N, min_of<std::int64_t>(16, fit)), size = ceil_div(p.N, groups);
  const Scratch<T> partial(groups * sums);
  parallel_tasks(groups, work_of(p, shape), [&](std::int64_t group) {
    const Scratch<T> columns(shape.direct ? 0 : shape.taps * shape.rows * p.Q);
    T* dw = partial.data() + group * sums;
    const std::int64_t first = group * size, last = min_of(p.N, first + size);
    if (first >= last)
      for (std::int64_t i = 0; i < sums; ++i) dw[i] = 0;
    for (std::int64_t n = first; n < last; ++n)
      add_image<T>(a, shape, n, n > first ? 1 : 0, dw, dw + weights, columns.data());
  });
  auto* dw = static_cast<T*>(a.dw);
  auto* db = static_cast<T*>(a.db);
  parallel_ranges(sums, 4096, groups * sums, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      T total = 0;
      for (std::int64_t g = 0; g < groups; ++g) total += partial.data()[g * sums + i];
      if (i < weights)
        dw[i] = total;
      else if (db)
        db[i - weights] = total;
    }
  });
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
