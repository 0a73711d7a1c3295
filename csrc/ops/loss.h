// Losses, forward and backward, with reduction none, mean or sum.
//
// Pointwise, input x and target t of one shape and dtype, weight w optional (bce only):
//   mse              (x - t)^2
//   l1               |x - t|                                           derivative 0 at x = t
//   huber            (x-t)^2/2 if |x-t| <= delta else delta (|x-t| - delta/2)
//   bce              -w (t log x + (1-t) log(1-x)), each log at least -100; x in [0, 1]
//   bce_with_logits  w (max(x,0) - x t + log(1 + exp(-|x|)))
//   hinge            max(0, margin - t x), t = -1 or 1
//   `param` is delta or margin.
//
// Cross-entropy from logits, softmax and negative log-likelihood in one kernel: logits (N, C, inner),
//   loss[n,i] = -sum_c q_c w_c log softmax(x[n,:,i])_c
//   with q one-hot of the class index, or given probabilities; smoothed: (1-e) q + e/C.
//   ignore_index: its rows give 0 and no gradient. mean: divided by the sum of w[target] over the rows that
//   count (class indices) or by N inner (probabilities). NaN where nothing counts.
//   Where its gradient is wanted, the forward writes it in the same pass, for a gradient of the loss of 1:
//   dlogits = softmax sum_c f_c - f with f_c = q_c w_c, divided as the loss is. The backward multiplies it by
//   the gradient of the loss, and does nothing where that is 1.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "core/enum.h"
#include "ops/check.h"

namespace weft {

class Array;

enum class Reduction : std::uint8_t { none, mean, sum };
// Member and name.
#define WEFT_POINTWISE_LOSSES(F)                         \
  F(mse, "mse_loss")                                     \
  F(l1, "l1_loss")                                       \
  F(huber, "huber_loss")                                 \
  F(bce, "binary_cross_entropy")                         \
  F(bce_with_logits, "binary_cross_entropy_with_logits") \
  F(hinge, "hinge_loss")
enum class PointwiseLoss : std::uint8_t { WEFT_POINTWISE_LOSSES(WEFT_ENUM_MEMBER) };

struct PointwiseLossArgs {
  PointwiseLoss kind;
  Reduction reduction;
  DType dtype;
  std::int64_t n;
  void* out;  // n values, or one
  const void* input;
  const void* target;
  const void* weight;  // n values or null
  double param;
};
struct PointwiseLossBackwardArgs {
  PointwiseLoss kind;
  Reduction reduction;
  DType dtype;
  std::int64_t n;
  void* dinput;      // may be null
  void* dtarget;     // may be null
  const void* dout;  // n values, or one
  const void* input;
  const void* target;
  const void* weight;
  double param;
};

struct CrossEntropyArgs {
  Reduction reduction;
  DType dtype;
  std::int64_t N, C, inner;
  void* out;      // N inner values, or one
  void* dlogits;  // N C inner values, for a gradient of the loss of 1; or null
  const void* logits;
  const std::int64_t* target;  // N inner class indices; or null
  CheckValuesArgs check;       // of these: what the forward makes first of all; none for a count of 0
  const void* probabilities;   // N C inner values; or null
  const void* weight;          // C values or null
  std::int64_t ignore_index;
  double label_smoothing;
};
// out = dlogits dout; they may be the same array.
struct CrossEntropyBackwardArgs {
  Reduction reduction;
  DType dtype;
  std::int64_t N, C, inner;
  void* out;
  const void* dlogits;
  const void* dout;  // N inner values, or one
};

Reduction parse_reduction(const char* op, const char* text);
const char* name(PointwiseLoss kind);

Array pointwise_loss(PointwiseLoss kind, const Array& input, const Array& target, const Array* weight,
                     Reduction reduction, double param);
// dinput, dtarget: filled where given.
void pointwise_loss_backward(PointwiseLoss kind, const Array& dout, const Array& input, const Array& target,
                             const Array* weight, Reduction reduction, double param, Array* dinput,
                             Array* dtarget);

struct CrossEntropyOptions {
  Reduction reduction = Reduction::mean;
  std::int64_t ignore_index = -100;
  double label_smoothing = 0;
};
// logits (C), (N,C) or (N,C,d1,...); target class indices of shape (), (N) or (N,d1,...) with an integer
// dtype, or probabilities of logits' shape and dtype. dlogits: filled where given.
Array cross_entropy(const Array& logits, const Array& target, const Array* weight,
                    const CrossEntropyOptions& options, Array* dlogits);
// dlogits times dout, the gradient of the loss; in dlogits itself with `in_place`.
Array cross_entropy_backward(const Array& dout, const Array& dlogits, Reduction reduction, bool in_place);

}  // namespace weft
