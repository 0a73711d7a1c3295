// Softmax cross-entropy with its gradient; see ops/loss.h. float32; float64 by the naive kernels.
//
// Each row is read from memory once. Its exponentials go into the gradient's row, which then lies in the
// cache, and become the gradient there: softmax = exponential / sum. Where the classes are last, a row is
// contiguous and its logarithm is taken together with those of its neighbours. Where other axes follow, a
// stretch of neighbouring rows is walked class by class. Losses are summed by task, and the tasks' sums in
// order, in double. What `mean` divides by depends on the targets alone and is known before.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"
#include "cpu/scratch.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t stretch = 64;  // rows side by side

struct Problem {
  explicit Problem(const CrossEntropyArgs& args)
      : a(args),
        logits(static_cast<const float*>(a.logits)),
        probabilities(static_cast<const float*>(a.probabilities)),
        weight(static_cast<const float*>(a.weight)),
        dlogits(static_cast<float*>(a.dlogits)),
        own(static_cast<float>(1 - a.label_smoothing)),
        even(static_cast<float>(a.label_smoothing) / static_cast<float>(a.C)),
        all(weight ? row_sum(weight, a.C) : static_cast<float>(a.C)),
        total(count()),
        share(a.reduction == Reduction::mean ? static_cast<float>(1 / total) : 1.0f) {}

  bool counts(std::int64_t row) const { return !a.target || a.target[row] != a.ignore_index; }
  float weight_of(std::int64_t c) const { return weight ? weight[c] : 1.0f; }

  // What `mean` divides by.
  double count() const {
    if (!a.target) return static_cast<double>(a.N * a.inner);
    double sum = 0;
    for (std::int64_t row = 0; row < a.N * a.inner; ++row)
      if (counts(row)) sum += static_cast<double>(weight_of(a.target[row]));
    return sum;
  }

  const CrossEntropyArgs& a;
  const float *logits, *probabilities, *weight;
  float* dlogits;
  float own, even,
      all;  // own: of the target beside the smoothing, even: of each class, all: the weights' sum
  double total;
  float share;
};

// f(c), the weight of class c in the loss of a row with probabilities q.
struct Factor {
  const float *q, *weight;
  float own, even;
  [[gnu::always_inline]] float operator()(std::int64_t c) const {
    return (own * q[c] + even) * (weight ? weight[c] : 1.0f);
  }
};

// A factor of 0 takes the logit out, even where that is infinite.
[[gnu::always_inline]] inline float term(float factor, float lse, float x) {
  return factor != 0 ? factor * (lse - x) : 0.0f;
}

// The loss of one row with probabilities; dx holds its exponentials, whose sum is 1 / inverse.
float finish_by_probability(const Problem& p, const float* x, const Factor factor, float* dx, float lse,
                            float inverse) {
  const std::int64_t C = p.a.C;
  const auto of = [=](std::int64_t c) __attribute__((always_inline)) { return term(factor(c), lse, x[c]); };
  const float loss = reduce_row(C, 0, of, add_of);
  if (!dx) return loss;
  const auto alone = [=](std::int64_t c) __attribute__((always_inline)) { return factor(c); };
  const float scale = p.share * inverse * reduce_row(C, 0, alone, add_of), share = p.share;
  for (std::int64_t c = 0; c < C; ++c) dx[c] = scale * dx[c] - share * factor(c);
  return loss;
}

// The same with the class t.
float finish_by_class(const Problem& p, const float* x, std::int64_t t, float* dx, float lse, float inverse) {
  const std::int64_t C = p.a.C;
  const float own = p.own * p.weight_of(t), even = p.even, *w = p.weight;
  float loss = term(own, lse, x[t]);
  if (even > 0) {
    const auto other = [=](std::int64_t c) __attribute__((always_inline)) {
      return (w ? w[c] : 1.0f) * (lse - x[c]);
    };
    loss += even * reduce_row(C, 0, other, add_of);
  }
  if (!dx) return loss;
  const float scale = p.share * (own + even * p.all) * inverse, common = p.share * even;
  for (std::int64_t c = 0; c < C; ++c) dx[c] *= scale;
  if (even > 0)
    for (std::int64_t c = 0; c < C; ++c) dx[c] -= common * (w ? w[c] : 1.0f);
  dx[t] -= p.share * own;
  return loss;
}

// Rows [first, first + count) with the classes last, at most `stretch` of them. Returns their losses' sum.
double rows_of_classes(const Problem& p, std::int64_t first, std::int64_t count) {
  const std::int64_t C = p.a.C;
  float largest[stretch], sum[stretch], lse[stretch];
  const float* x = p.logits + first * C;
  float* dx = p.dlogits ? p.dlogits + first * C : nullptr;
  for (std::int64_t j = 0; j < count; ++j) {
    largest[j] = row_max(x + j * C, C);
    sum[j] = dx ? row_exp<true>(x + j * C, largest[j], C, dx + j * C)
                : row_exp<false>(x + j * C, largest[j], C, nullptr);
  }
  for (std::int64_t j = 0; j < count; ++j) lse[j] = largest[j] + log(sum[j]);
  double total = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t row = first + j;
    float *to = dx ? dx + j * C : nullptr, loss = 0;
    if (!p.counts(row)) {
      for (std::int64_t c = 0; dx && c < C; ++c) to[c] = 0;
    } else if (p.a.target) {
      loss = finish_by_class(p, x + j * C, p.a.target[row], to, lse[j], 1 / sum[j]);
    } else {
      const Factor factor{p.probabilities + row * C, p.weight, p.own, p.even};
      loss = finish_by_probability(p, x + j * C, factor, to, lse[j], 1 / sum[j]);
    }
    if (p.a.reduction == Reduction::none) static_cast<float*>(p.a.out)[row] = loss;
    total += static_cast<double>(loss);
  }
  return total;
}

// What a stretch of rows side by side knows of each.
struct Stretch {
  float lse[stretch], inverse[stretch], loss[stretch], all[stretch];
};

// Adds what every class has in each row's loss, and to `all` the factors.
template <class F>
[[gnu::always_inline]] inline void add_classes(const Problem& p, Stretch& s, const float* x,
                                               std::int64_t count, F&& factor) {
  for (std::int64_t c = 0; c < p.a.C; ++c)
    for (std::int64_t j = 0; j < count; ++j) {
      const float f = factor(c, j);
      s.loss[j] += term(f, s.lse[j], x[c * p.a.inner + j]);
      s.all[j] += f;
    }
}

// dx = share (softmax all - factor), from the exponentials in dx.
template <class F>
[[gnu::always_inline]] inline void finish_classes(const Problem& p, const Stretch& s, float* dx,
                                                  std::int64_t count, F&& factor) {
  for (std::int64_t c = 0; c < p.a.C; ++c)
    for (std::int64_t j = 0; j < count; ++j) {
      float* d = dx + c * p.a.inner + j;
      *d = p.share * (*d * s.inverse[j] * s.all[j] - factor(c, j));
    }
}

void stretch_by_class(const Problem& p, Stretch& s, std::int64_t at, std::int64_t row, std::int64_t count) {
  const float* x = p.logits + at;
  const auto even = [&](std::int64_t c, std::int64_t) { return p.even * p.weight_of(c); };
  if (p.even > 0) add_classes(p, s, x, count, even);
  for (std::int64_t j = 0; j < count; ++j) {
    if (!p.counts(row + j)) continue;
    const std::int64_t t = p.a.target[row + j];
    const float own = p.own * p.weight_of(t);
    s.loss[j] += term(own, s.lse[j], x[t * p.a.inner + j]);
    s.all[j] += own;
  }
  if (!p.dlogits) return;
  float* dx = p.dlogits + at;
  finish_classes(p, s, dx, count, even);
  for (std::int64_t j = 0; j < count; ++j)
    if (p.counts(row + j)) {
      const std::int64_t t = p.a.target[row + j];
      dx[t * p.a.inner + j] -= p.share * p.own * p.weight_of(t);
    }
}

// Rows side by side, whose first logit is number `at`. Returns their losses' sum.
double rows_side_by_side(const Problem& p, std::int64_t at, std::int64_t row, std::int64_t count) {
  const std::int64_t C = p.a.C, inner = p.a.inner;
  const float* x = p.logits + at;
  float* dx = p.dlogits ? p.dlogits + at : nullptr;
  float largest[stretch], sum[stretch] = {};
  Stretch s = {};
  for (std::int64_t j = 0; j < count; ++j) largest[j] = x[j];
  for (std::int64_t c = 1; c < C; ++c)
    for (std::int64_t j = 0; j < count; ++j) largest[j] = larger_of(largest[j], x[c * inner + j]);
  for (std::int64_t c = 0; c < C; ++c) {
    float e[stretch];
    for (std::int64_t j = 0; j < count; ++j) {
      e[j] = exp_flushed(x[c * inner + j] - largest[j]);
      sum[j] += e[j];
    }
    if (dx)
      for (std::int64_t j = 0; j < count; ++j) dx[c * inner + j] = e[j];
  }
  for (std::int64_t j = 0; j < count; ++j) {
    s.lse[j] = largest[j] + log(sum[j]);
    s.inverse[j] = 1 / sum[j];
  }
  if (p.a.target) {
    stretch_by_class(p, s, at, row, count);
  } else {
    const float* q = p.probabilities + at;
    const auto factor = [&](std::int64_t c, std::int64_t j) __attribute__((always_inline)) {
      return (p.own * q[c * inner + j] + p.even) * p.weight_of(c);
    };
    add_classes(p, s, x, count, factor);
    if (dx) finish_classes(p, s, dx, count, factor);
  }
  double total = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    const float loss = p.counts(row + j) ? s.loss[j] : 0.0f;
    if (!p.counts(row + j))
      for (std::int64_t c = 0; dx && c < C; ++c) dx[c * inner + j] = 0;
    if (p.a.reduction == Reduction::none) static_cast<float*>(p.a.out)[row + j] = loss;
    total += static_cast<double>(loss);
  }
  return total;
}

// f(task) for each, and the sum of what it gives, in order.
template <class F>
double sum_of_tasks(std::int64_t tasks, std::int64_t work, F&& f) {
  const Scratch<double> losses(tasks);
  parallel_tasks(tasks, work, [&](std::int64_t task) { losses[task] = f(task); });
  double sum = 0;
  for (std::int64_t task = 0; task < tasks; ++task) sum += losses[task];
  return sum;
}

}  // namespace

void cross_entropy_forward(Stream& stream, const CrossEntropyArgs& a) {
  if (a.dtype != DType::float32 || a.N * a.inner == 0) return reference::cross_entropy_forward(stream, a);
  if (a.check.count > 0) check_values(stream, a.check);
  const Problem p(a);
  const std::int64_t work = a.N * a.C * a.inner * 8;
  double sum;
  if (a.inner == 1) {
    const std::int64_t rows = min_of(stretch, rows_per_task(a.C));
    sum = sum_of_tasks(ceil_div(a.N, rows), work, [&](std::int64_t task) {
      return rows_of_classes(p, task * rows, min_of(rows, a.N - task * rows));
    });
  } else {
    const std::int64_t pieces = ceil_div(a.inner, stretch);
    sum = sum_of_tasks(a.N * pieces, work, [&](std::int64_t task) {
      const std::int64_t n = task / pieces, j = task % pieces * stretch;
      return rows_side_by_side(p, n * a.C * a.inner + j, n * a.inner + j, min_of(stretch, a.inner - j));
    });
  }
  if (a.reduction == Reduction::sum) *static_cast<float*>(a.out) = static_cast<float>(sum);
  if (a.reduction == Reduction::mean) *static_cast<float*>(a.out) = static_cast<float>(sum / p.total);
}

void cross_entropy_backward(Stream& stream, const CrossEntropyBackwardArgs& a) {
  if (a.dtype != DType::float32) return reference::cross_entropy_backward(stream, a);
  const auto *from = static_cast<const float*>(a.dlogits), *dout = static_cast<const float*>(a.dout);
  auto* to = static_cast<float*>(a.out);
  const std::int64_t n = a.N * a.C * a.inner;
  if (a.reduction != Reduction::none) {
    const float d = *dout;
    if (to == from && d == 1) return;
    parallel_ranges(n, 16384, n, [=](std::int64_t begin, std::int64_t end) {
#pragma GCC ivdep  // `to` may be `from`, never shifted
      for (std::int64_t i = begin; i < end; ++i) to[i] = from[i] * d;
    });
    return;
  }
  parallel_ranges(a.N * a.C, max_of<std::int64_t>(1, 16384 / a.inner), n,
                  [=](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      const float* d = dout + i / a.C * a.inner;
#pragma GCC ivdep
                      for (std::int64_t j = i * a.inner; j < (i + 1) * a.inner; ++j)
                        to[j] = from[j] * d[j - i * a.inner];
                    }
                  });
}

}  // namespace weft::cpu::WEFT_ISA
