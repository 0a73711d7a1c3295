// One step of an optimizer over one flat buffer of n parameters, in place. g = grad + weight_decay w (adamw:
// the decay is taken from w itself, w -= lr weight_decay w). Learning rate and step count lie in device
// memory: a replayed step reads the present ones. step[0] is the number of steps made before, and the kernel
// counts it up; in the formulas `step` is this one's number, from 1 on.
//
//   sgd       momentum = 0: w -= lr g
//             b = momentum b + (1 - dampening) g (step 1: b = g);  w -= lr (nesterov ? g + momentum b : b)
//   adagrad   s += g^2;  w -= lr / (1 + (step-1) lr_decay) g / (sqrt(s) + eps)
//   rmsprop   s = alpha s + (1-alpha) g^2;  d = sqrt(s) + eps
//             (centered: a = alpha a + (1-alpha) g, d = sqrt(max(s - a^2, 0)) + eps)
//             momentum: b = momentum b + g/d, w -= lr b;  else w -= lr g/d
//   adam      m = beta1 m + (1-beta1) g;  v = beta2 v + (1-beta2) g^2;
//             w -= lr / (1-beta1^step) m / (sqrt(v / (1-beta2^step)) + eps)
// lr is one value, or two: the second is then read in place of momentum (Adam: beta1), for schedules that
// move both.
//
//   add_squares  total = sqrt(total + sum of x^2 over all elements of several arrays), in double; without the
//                total before in the first of several such launches, and the root only in the last
//   clip_scale   grad *= min(1, max_norm / (norm + 1e-6))
//
// float32 or float64; hyper-parameters double. maximize: g = -grad first.
// Sources: Nesterov as in Sutskever et al. 2013; AdaGrad Duchi et al. 2011; RMSProp Hinton's lecture 6e,
// 2012; Adam Kingma, Ba 2015; AdamW Loshchilov, Hutter 2019.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace weft {

class Array;

// A count of steps after one more, which comes back to the smallest number after the largest: it may be a
// user's own.
[[gnu::always_inline]] inline std::int64_t counted_up(std::int64_t count) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(count) + 1);
}

struct SgdArgs {
  DType dtype;
  std::int64_t n;
  void* param;
  const void* grad;
  void* momentum_buffer;  // null where momentum = 0
  const double* lr;
  std::int64_t* step;          // counted up
  const double* momentum_now;  // null: momentum
  double momentum, dampening, weight_decay;
  bool nesterov, maximize;
};
struct AdagradArgs {
  DType dtype;
  std::int64_t n;
  void* param;
  const void* grad;
  void* square_sum;
  const double* lr;
  std::int64_t* step;  // counted up
  double lr_decay, weight_decay, eps;
  bool maximize;
};
struct RmspropArgs {
  DType dtype;
  std::int64_t n;
  void* param;
  const void* grad;
  void* square_average;
  void* grad_average;     // null unless centered
  void* momentum_buffer;  // null where momentum = 0
  const double* lr;
  std::int64_t* step;          // counted up; may be null
  const double* momentum_now;  // null: momentum
  double alpha, eps, weight_decay, momentum;
  bool maximize;
};
struct AdamArgs {
  DType dtype;
  std::int64_t n;
  void* param;
  const void* grad;
  void* first_moment;
  void* second_moment;
  const double* lr;
  std::int64_t* step;       // counted up
  const double* beta1_now;  // null: beta1
  double beta1, beta2, eps, weight_decay;
  bool decoupled;  // adamw
  bool maximize;
};
struct AddSquaresArgs {
  static constexpr int most = 16;
  struct Part {
    const void* x;
    std::int64_t n;  // at least 1
  };
  DType dtype;
  int count;
  Part parts[most];
  double* total;
  bool first, last;
};
struct ClipScaleArgs {
  DType dtype;
  std::int64_t n;
  void* grad;
  const double* norm;  // float64, one value
  double max_norm;
};

struct SgdOptions {
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false, maximize = false;
};
void sgd_step(const Array& param, const Array& grad, const Array* momentum_buffer, const Array& lr,
              const Array& step, const SgdOptions& options);
struct AdagradOptions {
  double lr_decay = 0, weight_decay = 0, eps = 1e-10;
  bool maximize = false;
};
void adagrad_step(const Array& param, const Array& grad, const Array& square_sum, const Array& lr,
                  const Array& step, const AdagradOptions& options);
struct RmspropOptions {
  double alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool maximize = false;
};
void rmsprop_step(const Array& param, const Array& grad, const Array& square_average,
                  const Array* grad_average, const Array* momentum_buffer, const Array& lr, const Array* step,
                  const RmspropOptions& options);
struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false, maximize = false;
};
void adam_step(const Array& param, const Array& grad, const Array& first_moment, const Array& second_moment,
               const Array& lr, const Array& step, const AdamOptions& options);
// The L2 norm over all of the arrays together, float64 of shape (); each is then scaled in place where the
// norm exceeds max_norm (infinite: nothing is scaled).
Array clip_grad_norm(const Array* grads, int count, double max_norm);

}  // namespace weft
