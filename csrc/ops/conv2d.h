// Two-dimensional convolution (cross-correlation, as in every deep-learning library) and its gradients.
//
//   out[n,k,p,q] = f(bias[k] + sum over c < C/G, r, s of
//                  x[n, g C/G + c, p stride_h + r dilation_h - pad_top, q stride_w + s dilation_w - pad_left]
//                  * weight[k, c, r, s])        with g = k / (K/G) the group of k
//   dx      the same sum read backwards: every product of out that holds x[..] gives dout * weight
//   dw      sum over n, p, q of dout * x
//   db[k]   sum over n, p, q of dout
//
// x (N,C,H,W), weight (K,C/G,R,S), bias (K), out (N,K,P,Q); float32 or float64. The weight is contiguous; the
// images (x, out and their gradients) are too, or all lie channels last: channel c of pixel (n,h,w) at
// ((n H + h) W + w) C + c. They do where one of the operands does (Array::memory_format), as in torch.
//   P = floor((H + pad_top + pad_bottom - dilation_h (R-1) - 1) / stride_h) + 1, Q alike.
// Source: Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "core/enum.h"
#include "ops/activation.h"

namespace weft {

class Array;
struct Dims;

// Which methods a convolution may use; docs/convolution.md has the bounds of their errors. All are in the
// inputs' precision, they differ in how often they round.
//
// fast      Winograd's filtering on tiles of 4 x 4 outputs too
// accurate  on tiles of 2 x 2 at most: as close as the definition
// direct    the definition's own products and sums
#define WEFT_CONV_PRECISIONS(F) F(fast) F(accurate) F(direct)
enum class ConvPrecision { WEFT_CONV_PRECISIONS(WEFT_ENUM_MEMBER) };
// Of the process, at first fast; each call takes it along when it is made, so that a replay repeats what was
// recorded.
ConvPrecision conv_precision();
void set_conv_precision(ConvPrecision precision);
const char* name(ConvPrecision precision);
ConvPrecision parse_conv_precision(const char* text);  // ValueError

struct Conv2dParams {
  std::int64_t N, C, H, W, K, R, S, P, Q;
  std::int64_t stride_h, stride_w;
  std::int64_t pad_top, pad_bottom, pad_left, pad_right;
  std::int64_t dilation_h, dilation_w;
  std::int64_t groups;
  ConvPrecision precision;
  bool channels_last;  // the order of x, out, dx and dout
};

struct Conv2dForwardArgs {
  Conv2dParams p;
  DType dtype;
  void* out;
  const void* x;
  const void* weight;
  const void* bias;  // may be null
  Activation activation;
  double activation_alpha;
};
struct Conv2dBackwardInputArgs {
  Conv2dParams p;
  DType dtype;
  void* dx;
  const void* dout;
  const void* weight;
};
struct Conv2dBackwardWeightArgs {
  Conv2dParams p;
  DType dtype;
  void* dw;
  void* db;  // may be null
  const void* dout;
  const void* x;
};

// Options as the user gives them. padding: 4 numbers top, bottom, left, right; or "same", "valid".
struct Conv2dOptions {
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
  bool same = false;  // output size = input size (stride 1 only); an odd total puts the extra one at the end
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
};

// All of the shape arithmetic and its checks. Every message begins with `op`.
Conv2dParams conv2d_params(const char* op, const Dims& x, const Dims& weight, const Conv2dOptions& options);

// x may lack the batch axis, (C,H,W), and then the output does too.
Array conv2d(const Array& x, const Array& weight, const Array* bias, const Conv2dOptions& options,
             Activation activation, double activation_alpha);
Array conv2d_backward_input(const Array& dout, const Array& weight, const Dims& input_size,
                            const Conv2dOptions& options);
// db: where given, receives the gradient of the bias in the same pass.
Array conv2d_backward_weight(const Array& dout, const Array& x, const Dims& weight_size,
                             const Conv2dOptions& options, Array* db);

}  // namespace weft
