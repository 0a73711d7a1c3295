// Convolution of images that lie channels last, (N, H, W, C) in memory. The policy:
//
//   depthwise   3x3, one input channel a group: lanes = channels     (conv2d_channels_last_depthwise.cpp)
//   pixels      1x1: the images are matrices of pixels x channels, one matrix product
//   turned      everything else: the images are copied to planes and the result is copied back
#include "cpu/conv2d_channels_last.h"

#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

namespace {

std::int64_t bytes_of(DType dtype) { return dtype == DType::float32 ? 4 : 8; }

CopyArgs copy_of(DType dtype, std::int64_t N, std::int64_t a, std::int64_t b, void* to, const void* from) {
  return {dtype, dtype, 3, {N, a, b}, {to, {a * b, b, 1}}, {const_cast<void*>(from), {a * b, 1, a}}};
}

// `to` (N, C, L) from `from` (N, L, C), and the way back.
void to_planes(Stream& stream, DType dtype, std::int64_t N, std::int64_t C, std::int64_t L, void* to,
               const void* from) {
  copy(stream, copy_of(dtype, N, C, L, to, from));
}
void to_pixels(Stream& stream, DType dtype, std::int64_t N, std::int64_t C, std::int64_t L, void* to,
               const void* from) {
  copy(stream, copy_of(dtype, N, L, C, to, from));
}

// --- turned

void turned_forward(Stream& stream, const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  const Scratch<char> x(p.N * p.C * p.H * p.W * bytes_of(a.dtype)),
      out(p.N * p.K * p.P * p.Q * bytes_of(a.dtype));
  to_planes(stream, a.dtype, p.N, p.C, p.H * p.W, x.data(), a.x);
  Conv2dForwardArgs planes = a;
  planes.p.channels_last = false;
  planes.x = x.data();
  planes.out = out.data();
  conv2d_forward(stream, planes);
  to_pixels(stream, a.dtype, p.N, p.K, p.P * p.Q, a.out, out.data());
}

void turned_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  const Scratch<char> dx(p.N * p.C * p.H * p.W * bytes_of(a.dtype)),
      dout(p.N * p.K * p.P * p.Q * bytes_of(a.dtype));
  to_planes(stream, a.dtype, p.N, p.K, p.P * p.Q, dout.data(), a.dout);
  Conv2dBackwardInputArgs planes = a;
  planes.p.channels_last = false;
  planes.dout = dout.data();
  planes.dx = dx.data();
  conv2d_backward_input(stream, planes);
  to_pixels(stream, a.dtype, p.N, p.C, p.H * p.W, a.dx, dx.data());
}

void turned_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const Scratch<char> x(p.N * p.C * p.H * p.W * bytes_of(a.dtype)),
      dout(p.N * p.K * p.P * p.Q * bytes_of(a.dtype));
  to_planes(stream, a.dtype, p.N, p.C, p.H * p.W, x.data(), a.x);
  to_planes(stream, a.dtype, p.N, p.K, p.P * p.Q, dout.data(), a.dout);
  Conv2dBackwardWeightArgs planes = a;
  planes.p.channels_last = false;
  planes.x = x.data();
  planes.dout = dout.data();
  conv2d_backward_weight(stream, planes);
}

// --- pixels: out [NPQ, K] = x [NPQ, C] weight^T [C, K]

bool is_pixelwise(const Conv2dParams& p) {
  return p.R == 1 && p.S == 1 && p.stride_h == 1 && p.stride_w == 1 && p.groups == 1 && p.pad_top == 0 &&
         p.pad_bottom == 0 && p.pad_left == 0 && p.pad_right == 0;
}

Matrix matrix(const void* data, std::int64_t row_stride, std::int64_t column_stride) {
  return {const_cast<void*>(data), row_stride, column_stride, 0};
}

bool pixels_forward(Stream& stream, const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  if (!is_pixelwise(p)) return false;
  gemm(stream, {a.dtype, a.dtype, 1, p.N * p.P * p.Q, p.K, p.C, 1, 0, matrix(a.x, p.C, 1),
                matrix(a.weight, 1, p.C), matrix(a.out, p.K, 1), a.bias,
                a.bias ? BiasAxis::column : BiasAxis::none, a.activation, a.activation_alpha});
  return true;
}

bool pixels_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  if (!is_pixelwise(p)) return false;
  gemm(stream,
       {a.dtype, a.dtype, 1, p.N * p.P * p.Q, p.C, p.K, 1, 0, matrix(a.dout, p.K, 1),
        matrix(a.weight, p.C, 1), matrix(a.dx, p.C, 1), nullptr, BiasAxis::none, Activation::none, 0});
  return true;
}

// sums[c] = the sum of column c of rows x columns values: of pieces of rows, then of the pieces in order.
template <class T>
void column_sums(const T* x, std::int64_t rows, std::int64_t columns, T* sums) {
  constexpr std::int64_t together = 64;
  const std::int64_t piece = max_of<std::int64_t>(1, 32768 / columns), pieces = ceil_div(rows, piece);
  const Scratch<T> parts(pieces * columns);
  parallel_tasks(pieces, rows * columns, [&](std::int64_t i) {
    T* part = parts.data() + i * columns;
    for (std::int64_t c = 0; c < columns; ++c) part[c] = 0;
    for (std::int64_t row = i * piece; row < min_of(rows, (i + 1) * piece); ++row)
      for (std::int64_t c = 0; c < columns; ++c) part[c] += x[row * columns + c];
  });
  parallel_tasks(ceil_div(columns, together), pieces * columns, [&](std::int64_t i) {
    const std::int64_t begin = i * together, end = min_of(columns, begin + together);
    for (std::int64_t c = begin; c < end; ++c) sums[c] = parts[c];
    for (std::int64_t k = 1; k < pieces; ++k)
      for (std::int64_t c = begin; c < end; ++c) sums[c] += parts[k * columns + c];
  });
}

bool pixels_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  if (!is_pixelwise(p)) return false;
  const std::int64_t pixels = p.N * p.P * p.Q;
  gemm(stream, {a.dtype, a.dtype, 1, p.K, p.C, pixels, 1, 0, matrix(a.dout, 1, p.K), matrix(a.x, p.C, 1),
                matrix(a.dw, p.C, 1), nullptr, BiasAxis::none, Activation::none, 0});
  if (a.db)
    dispatch_floating(a.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      column_sums(static_cast<const T*>(a.dout), pixels, p.K, static_cast<T*>(a.db));
    });
  return true;
}

}  // namespace

void conv2d_channels_last_forward(Stream& stream, const Conv2dForwardArgs& a) {
  if (!conv2d_last_depthwise_forward(a) && !pixels_forward(stream, a)) turned_forward(stream, a);
}

void conv2d_channels_last_backward_input(Stream& stream, const Conv2dBackwardInputArgs& a) {
  if (!conv2d_last_depthwise_backward_input(a) && !pixels_backward_input(stream, a))
    turned_backward_input(stream, a);
}

void conv2d_channels_last_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& a) {
  if (!conv2d_last_depthwise_backward_weight(a) && !pixels_backward_weight(stream, a))
    turned_backward_weight(stream, a);
}

}  // namespace weft::cpu::WEFT_ISA
