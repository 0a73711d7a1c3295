// Pointwise losses; see ops/loss.h. Sums over elements run in blocks of a fixed size, added in order, in
// double. float64: the naive kernels.
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

[[gnu::always_inline]] inline float at_least_minus_100(float x) { return x < -100.0f ? -100.0f : x; }

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
    case PointwiseLoss::bce:
      pointwise(a, 24, [](float x, float t) {
        return -(t * at_least_minus_100(log(x)) + (1 - t) * at_least_minus_100(log1p(-x)));
      });
      return true;
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
    case PointwiseLoss::bce:
      pointwise_backward(
          a, 24,
          [](float x, float t) {  // the denominator is kept away from 0
            const float spread = x * (1 - x);
            return (x - t) / (spread < 1e-12f ? 1e-12f : spread);
          },
          [](float x, float) { return at_least_minus_100(log1p(-x)) - at_least_minus_100(log(x)); });
      return true;
  }
  return false;
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

}  // namespace weft::cpu::WEFT_ISA
