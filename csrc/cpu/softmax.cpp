// Softmax and log-softmax; see ops/softmax.h. float32 with the axis last: one row at a time, which then lies
// in the L1 cache. float32 with an inner axis: a stretch of neighbouring rows side by side. float64 by the
// naive kernels.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

void forward_rows(bool log_of, std::int64_t rows, std::int64_t n, const float* x, float* out) {
  constexpr std::int64_t group = 64;
  for (std::int64_t first = 0; log_of && first < rows; first += group) {
    float lse[group];
    const std::int64_t count = min_of(group, rows - first);
    rows_log_sum_exp(x + first * n, count, n, lse);
    for (std::int64_t j = 0; j < count; ++j) {
      const float shift = lse[j], *from = x + (first + j) * n;
      float* to = out + (first + j) * n;
      for (std::int64_t i = 0; i < n; ++i) to[i] = from[i] - shift;
    }
  }
  for (std::int64_t row = 0; !log_of && row < rows; ++row, x += n, out += n) {
    ask_for_row(x + n, n);
    const float inverse = 1 / row_exp<true>(x, row_max(x, n), n, out);
    for (std::int64_t i = 0; i < n; ++i) out[i] *= inverse;
  }
}

void backward_row(bool log_of, std::int64_t n, const float* dout, const float* out, float* dx) {
  if (log_of) {
    const float sum = row_sum(dout, n);
    for (std::int64_t i = 0; i < n; ++i) dx[i] = dout[i] - exp_flushed(out[i]) * sum;
    return;
  }
  const float sum = row_dot(dout, out, n);
  for (std::int64_t i = 0; i < n; ++i) dx[i] = out[i] * (dout[i] - sum);
}

// Rows that lie `inner` apart, `count` of them side by side.
constexpr std::int64_t stretch = 64;

void forward_stretch(const SoftmaxArgs& a, const float* x, float* out, std::int64_t count) {
  float largest[stretch], sum[stretch];
  for (std::int64_t j = 0; j < count; ++j) largest[j] = x[j];
  for (std::int64_t i = 1; i < a.n; ++i)
    for (std::int64_t j = 0; j < count; ++j) largest[j] = larger_of(largest[j], x[i * a.inner + j]);
  for (std::int64_t j = 0; j < count; ++j) sum[j] = 0;
  for (std::int64_t i = 0; i < a.n; ++i) {
    const float* from = x + i * a.inner;
    float* to = out + i * a.inner;
    for (std::int64_t j = 0; j < count; ++j) {
      to[j] = exp_flushed(from[j] - largest[j]);
      sum[j] += to[j];
    }
  }
  if (a.log) {
    for (std::int64_t j = 0; j < count; ++j) sum[j] = largest[j] + log(sum[j]);
    for (std::int64_t i = 0; i < a.n; ++i)
      for (std::int64_t j = 0; j < count; ++j) out[i * a.inner + j] = x[i * a.inner + j] - sum[j];
  } else {
    for (std::int64_t j = 0; j < count; ++j) sum[j] = 1 / sum[j];
    for (std::int64_t i = 0; i < a.n; ++i)
      for (std::int64_t j = 0; j < count; ++j) out[i * a.inner + j] *= sum[j];
  }
}

void backward_stretch(const SoftmaxBackwardArgs& a, const float* dout, const float* out, float* dx,
                      std::int64_t count) {
  float sum[stretch];
  for (std::int64_t j = 0; j < count; ++j) sum[j] = 0;
  for (std::int64_t i = 0; i < a.n; ++i)
    for (std::int64_t j = 0; j < count; ++j)
      sum[j] += a.log ? dout[i * a.inner + j] : dout[i * a.inner + j] * out[i * a.inner + j];
  for (std::int64_t i = 0; i < a.n; ++i)
    for (std::int64_t j = 0; j < count; ++j) {
      const float y = out[i * a.inner + j], dy = dout[i * a.inner + j];
      dx[i * a.inner + j] = a.log ? dy - exp_flushed(y) * sum[j] : y * (dy - sum[j]);
    }
}

// f(offset of the first element, count of rows side by side) for all of them.
template <class F>
void for_each_stretch(std::int64_t outer, std::int64_t n, std::int64_t inner, F&& f) {
  const std::int64_t pieces = ceil_div(inner, stretch);
  parallel_tasks(outer * pieces, outer * n * inner * 8, [&](std::int64_t task) {
    const std::int64_t o = task / pieces, j = task % pieces * stretch;
    f(o * n * inner + j, min_of(stretch, inner - j));
  });
}

}  // namespace

void softmax_forward(Stream& stream, const SoftmaxArgs& a) {
  if (a.dtype != DType::float32) return reference::softmax_forward(stream, a);
  const auto* x = static_cast<const float*>(a.x);
  auto* out = static_cast<float*>(a.out);
  if (a.inner == 1)
    parallel_ranges(a.outer, rows_per_task(a.n), a.outer * a.n * 8,
                    [&](std::int64_t begin, std::int64_t end) {
                      forward_rows(a.log, end - begin, a.n, x + begin * a.n, out + begin * a.n);
                    });
  else
    for_each_stretch(a.outer, a.n, a.inner, [&](std::int64_t at, std::int64_t count) {
      forward_stretch(a, x + at, out + at, count);
    });
}

void softmax_backward(Stream& stream, const SoftmaxBackwardArgs& a) {
  if (a.dtype != DType::float32) return reference::softmax_backward(stream, a);
  const auto* dout = static_cast<const float*>(a.dout);
  const auto* out = static_cast<const float*>(a.out);
  auto* dx = static_cast<float*>(a.dx);
  if (a.inner == 1)
    parallel_ranges(a.outer, rows_per_task(a.n), a.outer * a.n * 8,
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t row = begin; row < end; ++row)
                        backward_row(a.log, a.n, dout + row * a.n, out + row * a.n, dx + row * a.n);
                    });
  else
    for_each_stretch(a.outer, a.n, a.inner, [&](std::int64_t at, std::int64_t count) {
      backward_stretch(a, dout + at, out + at, dx + at, count);
    });
}

}  // namespace weft::cpu::WEFT_ISA
