// Losses; see ops/loss.h. Cross-entropy with class indices in the last axis, float32: one pass over each row
// for the largest logit, one for the sum of exponentials; the backward has softmax from the kept log sum exp
// in one more. Sums over rows and elements run in blocks of a fixed size, added in order, in double.
// Everything else: the naive kernels.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"
#include "cpu/scratch.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t block = 4096;

// The sum of all partial sums, in order.
double total_of(const Scratch<double>& partial, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += partial[i];
  return sum;
}

// loss(x, t) of each element: written out, or summed.
template <class F>
void pointwise(const PointwiseLossArgs& a, std::int64_t cost, F loss) {
  const auto* x = static_cast<const float*>(a.input);
  const auto* t = static_cast<const float*>(a.target);
  const auto* w = static_cast<const float*>(a.weight);
  auto* out = static_cast<float*>(a.out);
  if (a.reduction == Reduction::none) {
    parallel_ranges(a.n, block, a.n * cost, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) out[i] = loss(x[i], t[i]) * (w ? w[i] : 1.0f);
    });
    return;
  }
  const std::int64_t blocks = ceil_div(a.n, block);
  const Scratch<double> sums(blocks);
  parallel_tasks(blocks, a.n * cost, [&](std::int64_t b) {
    const std::int64_t begin = b * block, n = min_of(block, a.n - begin);
    const float *p = x + begin, *q = t + begin;
    // Two loops: a choice inside of one would keep it from becoming vectors.
    const float sum = w ? reduce_row(
                              n, 0, [=](std::int64_t i) { return loss(p[i], q[i]) * w[begin + i]; }, add_of)
                        : reduce_row(n, 0, [=](std::int64_t i) { return loss(p[i], q[i]); }, add_of);
    sums[b] = static_cast<double>(sum);
  });
  const double total = total_of(sums, blocks);
  *out = static_cast<float>(a.reduction == Reduction::mean ? total / static_cast<double>(a.n) : total);
}

// dinput = dout dloss(x, t), and dtarget alike where it is asked for.
template <class F, class G>
void pointwise_backward(const PointwiseLossBackwardArgs& a, std::int64_t cost, F by_input, G by_target) {
  const auto* x = static_cast<const float*>(a.input);
  const auto* t = static_cast<const float*>(a.target);
  const auto* w = static_cast<const float*>(a.weight);
  const auto* dout = static_cast<const float*>(a.dout);
  auto* dx = static_cast<float*>(a.dinput);
  auto* dt = static_cast<float*>(a.dtarget);
  const bool each = a.reduction == Reduction::none;
  const float share =
      a.reduction == Reduction::mean ? static_cast<float>(1.0 / static_cast<double>(a.n)) : 1.0f;
  parallel_ranges(a.n, block, a.n * cost, [&](std::int64_t begin, std::int64_t end) {
    const float common = each ? 1.0f : dout[0] * share;
    const auto scale = [&](std::int64_t i) { return (each ? dout[i] : common) * (w ? w[i] : 1.0f); };
    if (dx)
      for (std::int64_t i = begin; i < end; ++i) dx[i] = scale(i) * by_input(x[i], t[i]);
    if (dt)
      for (std::int64_t i = begin; i < end; ++i) dt[i] = scale(i) * by_target(x[i], t[i]);
  });
}

[[gnu::always_inline]] inline float sign_of(float d) { return d > 0 ? 1.0f : d < 0 ? -1.0f : d; }

bool pointwise_float(const PointwiseLossArgs& a) {
  const auto param = static_cast<float>(a.param);
  switch (a.kind) {
    case PointwiseLoss::mse: pointwise(a, 1, [](float x, float t) { return (x - t) * (x - t); }); return true;
    case PointwiseLoss::l1:
      pointwise(a, 1, [](float x, float t) { return __builtin_fabsf(x - t); });
      return true;
    case PointwiseLoss::huber:
      pointwise(a, 1, [=](float x, float t) {
        const float d = x - t, size = __builtin_fabsf(d);
        return size <= param ? 0.5f * d * d : param * (size - 0.5f * param);
      });
      return true;
    case PointwiseLoss::bce_with_logits:
      pointwise(a, 16, [](float x, float t) {
        return (x <= 0 ? 0.0f : x) - x * t + log1p(exp(-__builtin_fabsf(x)));
      });
      return true;
    case PointwiseLoss::hinge:
      pointwise(a, 1, [=](float x, float t) { return param - t * x <= 0 ? 0.0f : param - t * x; });
      return true;
    case PointwiseLoss::bce: return false;
  }
  return false;
}

bool pointwise_float_backward(const PointwiseLossBackwardArgs& a) {
  const auto param = static_cast<float>(a.param);
  const auto both = [&](auto by_input) {
    pointwise_backward(a, 1, by_input, [=](float x, float t) { return -by_input(x, t); });
  };
  switch (a.kind) {
    case PointwiseLoss::mse: both([](float x, float t) { return 2 * (x - t); }); return true;
    case PointwiseLoss::l1: both([](float x, float t) { return sign_of(x - t); }); return true;
    case PointwiseLoss::huber:
      both([=](float x, float t) {
        const float d = x - t;
        return __builtin_fabsf(d) <= param ? d : param * sign_of(d);
      });
      return true;
    case PointwiseLoss::bce_with_logits:
      pointwise_backward(
          a, 12, [](float x, float t) { return sigmoid(x) - t; }, [](float x, float) { return -x; });
      return true;
    case PointwiseLoss::hinge:
      pointwise_backward(
          a, 1, [=](float x, float t) { return param - t * x <= 0 ? 0.0f : -t; },
          [=](float x, float t) { return param - t * x <= 0 ? 0.0f : -x; });
      return true;
    case PointwiseLoss::bce: return false;
  }
  return false;
}

// The rows of cross-entropy that have a loop of their own.
template <class Args>
bool plain(const Args& a) {
  return a.dtype == DType::float32 && a.inner == 1 && a.target && a.N > 0;
}

// The loss of one row with class t. With smoothing e every class has the weight e/C beside the target's 1-e.
float row_loss(const CrossEntropyArgs& a, const float* x, std::int64_t t, float lse) {
  const auto* w = static_cast<const float*>(a.weight);
  const auto e = static_cast<float>(a.label_smoothing);
  float loss = (1 - e) * (w ? w[t] : 1.0f) * (lse - x[t]);
  if (e > 0) {
    const auto other = [=](std::int64_t c) { return (w ? w[c] : 1.0f) * (lse - x[c]); };
    loss += e / static_cast<float>(a.C) * reduce_row(a.C, 0, other, add_of);
  }
  return loss;
}

}  // namespace

void pointwise_loss_forward(Stream& stream, const PointwiseLossArgs& a) {
  if (a.dtype == DType::float32 && a.n > 0 && pointwise_float(a)) return;
  reference::pointwise_loss_forward(stream, a);
}

void pointwise_loss_backward(Stream& stream, const PointwiseLossBackwardArgs& a) {
  if (a.dtype == DType::float32 && pointwise_float_backward(a)) return;
  reference::pointwise_loss_backward(stream, a);
}

void cross_entropy_forward(Stream& stream, const CrossEntropyArgs& a) {
  if (!plain(a)) return reference::cross_entropy_forward(stream, a);
  const auto* logits = static_cast<const float*>(a.logits);
  const auto* w = static_cast<const float*>(a.weight);
  auto* out = static_cast<float*>(a.out);
  auto* lse = static_cast<float*>(a.lse);
  const std::int64_t rows = rows_per_task(a.C), tasks = ceil_div(a.N, rows);
  const Scratch<double> losses(tasks), totals(tasks);
  parallel_tasks(tasks, a.N * a.C * 8, [&](std::int64_t task) {
    double sum = 0, total = 0;
    rows_log_sum_exp(logits + task * rows * a.C, min_of(rows, a.N - task * rows), a.C, lse + task * rows);
    for (std::int64_t row = task * rows; row < min_of(a.N, (task + 1) * rows); ++row) {
      const float* x = logits + row * a.C;
      const std::int64_t t = a.target[row];
      const bool counts = t != a.ignore_index;
      const float loss = counts ? row_loss(a, x, t, lse[row]) : 0.0f;
      if (counts) total += static_cast<double>(w ? w[t] : 1.0f);
      if (a.reduction == Reduction::none) out[row] = loss;
      sum += static_cast<double>(loss);
    }
    losses[task] = sum;
    totals[task] = total;
  });
  const double total = total_of(totals, tasks);
  *static_cast<float*>(a.total) = static_cast<float>(total);
  if (a.reduction == Reduction::sum) *out = static_cast<float>(total_of(losses, tasks));
  if (a.reduction == Reduction::mean) *out = static_cast<float>(total_of(losses, tasks) / total);
}

void cross_entropy_backward(Stream& stream, const CrossEntropyBackwardArgs& a) {
  if (!plain(a)) return reference::cross_entropy_backward(stream, a);
  const auto* logits = static_cast<const float*>(a.logits);
  const auto* w = static_cast<const float*>(a.weight);
  const auto* dout = static_cast<const float*>(a.dout);
  const auto* lse = static_cast<const float*>(a.lse);
  const float share = a.reduction == Reduction::mean ? 1 / *static_cast<const float*>(a.total) : 1.0f;
  const auto e = static_cast<float>(a.label_smoothing), even = e / static_cast<float>(a.C);
  float weights = static_cast<float>(a.C);  // the sum of all weights: what smoothing spreads over
  if (w) weights = row_sum(w, a.C);
  parallel_ranges(a.N, rows_per_task(a.C), a.N * a.C * 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* x = logits + row * a.C;
      float* dx = static_cast<float*>(a.dlogits) + row * a.C;
      const std::int64_t t = a.target[row];
      const float d = dout[a.reduction == Reduction::none ? row : 0] * share;
      if (t == a.ignore_index) {
        for (std::int64_t c = 0; c < a.C; ++c) dx[c] = 0;
        continue;
      }
      const float own = (1 - e) * (w ? w[t] : 1.0f), all = d * (own + even * weights), shift = lse[row];
      for (std::int64_t c = 0; c < a.C; ++c) dx[c] = all * exp_flushed(x[c] - shift);
      if (e > 0)
        for (std::int64_t c = 0; c < a.C; ++c) dx[c] -= d * even * (w ? w[c] : 1.0f);
      dx[t] -= d * own;
    }
  });
}

}  // namespace weft::cpu::WEFT_ISA
