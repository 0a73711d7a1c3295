// Convolution with one input channel a group (depthwise: groups = C; K may be a multiple of C). Every output
// plane comes from one input plane, so there is nothing to share between outputs: for each tap, a row of the
// input times one weight is added to a row of the output. Windows of 3x3 have a file of their own.
#include "cpu/conv2d_depthwise.h"

#include "cpu/conv2d_columns.h"
#include "cpu/parallel.h"

namespace weft::cpu::WEFT_ISA {

namespace {

// f(output row, input row, weight index, columns) for every row of a plane and every tap that meets the
// image.
template <class F>
[[gnu::always_inline]] inline void for_each_row(const Conv2dParams& p, F&& f) {
  for (std::int64_t r = 0; r < p.R; ++r)
    for (std::int64_t s = 0; s < p.S; ++s) {
      const Columns columns(p, s);
      for (std::int64_t row = 0; row < p.P; ++row) {
        const std::int64_t h = row * p.stride_h + r * p.dilation_h - p.pad_top;
        if (h >= 0 && h < p.H) f(row, h, r * p.S + s, columns);
      }
    }
}

std::int64_t work_of(const Conv2dParams& p) { return p.N * p.K * p.P * p.Q * p.R * p.S / 4; }

bool takes(const Conv2dParams& p) { return p.groups == p.C && p.groups > 1; }

template <class T>
void forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  const std::int64_t each = p.K / p.C;
  const bool relu = a.activation == Activation::relu;
  parallel_tasks(p.N * p.K, work_of(p), [&](std::int64_t i) {
    const std::int64_t n = i / p.K, k = i % p.K;
    const T* x = static_cast<const T*>(a.x) + (n * p.C + k / each) * p.H * p.W;
    const T* weight = static_cast<const T*>(a.weight) + k * p.R * p.S;
    const T bias = a.bias ? static_cast<const T*>(a.bias)[k] : T(0);
    T* out = static_cast<T*>(a.out) + i * p.P * p.Q;
    for (std::int64_t j = 0; j < p.P * p.Q; ++j) out[j] = bias;
    for_each_row(p, [&](std::int64_t row, std::int64_t h, std::int64_t tap, const Columns& c) {
      const T w = weight[tap];
      const T* from = x + h * p.W + c.shift;
      T* to = out + row * p.Q;
      if (p.stride_w == 1)
        for (std::int64_t q = c.begin; q < c.end; ++q) to[q] += w * from[q];
      else
        for (std::int64_t q = c.begin; q < c.end; ++q) to[q] += w * from[q * p.stride_w];
    });
    if (relu)
      for (std::int64_t j = 0; j < p.P * p.Q; ++j) out[j] = out[j] <= 0 ? T(0) : out[j];
  });
}

template <class T>
void backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  const std::int64_t each = p.K / p.C;
  parallel_tasks(p.N * p.C, work_of(p), [&](std::int64_t i) {
    const std::int64_t n = i / p.C, c = i % p.C;
    T* dx = static_cast<T*>(a.dx) + i * p.H * p.W;
    for (std::int64_t j = 0; j < p.H * p.W; ++j) dx[j] = 0;
    for (std::int64_t k = c * each; k < (c + 1) * each; ++k) {
      const T* dout = static_cast<const T*>(a.dout) + (n * p.K + k) * p.P * p.Q;
      const T* weight = static_cast<const T*>(a.weight) + k * p.R * p.S;
      for_each_row(p, [&](std::int64_t row, std::int64_t h, std::int64_t tap, const Columns& columns) {
        const T w = weight[tap];
        const T* from = dout + row * p.Q;
        T* to = dx + h * p.W + columns.shift;
        if (p.stride_w == 1)
          for (std::int64_t q = columns.begin; q < columns.end; ++q) to[q] += w * from[q];
        else
          for (std::int64_t q = columns.begin; q < columns.end; ++q) to[q * p.stride_w] += w * from[q];
      });
    }
  });
}

// Eight running sums, so that the compiler may use vectors without changing the order of a sum behind our
// back.
template <class T>
[[gnu::always_inline]] inline T row_product(const T* a, const T* b, std::int64_t b_stride,
                                            std::int64_t count) {
  T sum[8] = {};
  std::int64_t q = 0;
  for (; q + 8 <= count; q += 8)
    for (int j = 0; j < 8; ++j) sum[j] += a[q + j] * b[(q + j) * b_stride];
  for (; q < count; ++q) sum[0] += a[q] * b[q * b_stride];
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

template <class T>
void backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const std::int64_t each = p.K / p.C, taps = p.R * p.S;
  // One task owns one filter over all images: sums in the order of the images.
  parallel_tasks(p.K, work_of(p), [&](std::int64_t k) {
    T* dw = static_cast<T*>(a.dw) + k * taps;
    for (std::int64_t t = 0; t < taps; ++t) dw[t] = 0;
    T total = 0;
    for (std::int64_t n = 0; n < p.N; ++n) {
      const T* x = static_cast<const T*>(a.x) + (n * p.C + k / each) * p.H * p.W;
      const T* dout = static_cast<const T*>(a.dout) + (n * p.K + k) * p.P * p.Q;
      for_each_row(p, [&](std::int64_t row, std::int64_t h, std::int64_t tap, const Columns& c) {
        const T* d = dout + row * p.Q + c.begin;
        const T* from = x + h * p.W + c.shift + c.begin * p.stride_w;
        dw[tap] += p.stride_w == 1 ? row_product(d, from, 1, c.end - c.begin)
                                   : row_product(d, from, p.stride_w, c.end - c.begin);
      });
      for (std::int64_t row = 0; row < p.P; ++row) {
        T sum = 0;
        for (std::int64_t q = 0; q < p.Q; ++q) sum += dout[row * p.Q + q];
        total += sum;
      }
    }
    if (a.db) static_cast<T*>(a.db)[k] = total;
  });
}

}  // namespace

bool conv2d_depthwise_forward(const Conv2dForwardArgs& a) {
  if (!takes(a.p)) return false;
  if (conv2d_depthwise_3x3_forward(a)) return true;
  dispatch_floating(a.dtype, [&](auto type) { forward<typename decltype(type)::type>(a); });
  return true;
}

bool conv2d_depthwise_backward_input(const Conv2dBackwardInputArgs& a) {
  if (!takes(a.p)) return false;
  if (conv2d_depthwise_3x3_backward_input(a)) return true;
  dispatch_floating(a.dtype, [&](auto type) { backward_input<typename decltype(type)::type>(a); });
  return true;
}

bool conv2d_depthwise_backward_weight(const Conv2dBackwardWeightArgs& a) {
  if (!takes(a.p)) return false;
  if (conv2d_depthwise_3x3_backward_weight(a)) return true;
  dispatch_floating(a.dtype, [&](auto type) { backward_weight<typename decltype(type)::type>(a); });
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
