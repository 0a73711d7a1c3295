// Convolution, bias, ReLU and max-pooling in one operation, with a backward pass over live gradients only.
//
//   y    = conv2d(x, weight, bias)                                     (N,K,P,Q); never stored
//   out[n,k,i,j] = max(0, max over u < pool_h, v < pool_w of y[n, k, i pool_h + u, j pool_w + v])
//   winner[n,k,i,j] = u pool_w + v of the first largest element of the window, of NaNs the last; 64, which
//                     is no place in it, where the maximum is not above 0: ReLU cut the window off
//
// A window passes its gradient to its winner, and none where ReLU cut it off. So at most one element of y in
// pool_h pool_w has a gradient, and backward need only make the products of these:
//   dy[n, k, i pool_h + u, j pool_w + v] = dout[n,k,i,j] at the winner (u, v), else 0
//   dx, dw, db  from dy as in ops/conv2d.h
// Products with a dy of 0 may be left out: an infinity in x or weight meets no 0 there.
//
// Windows do not overlap: the stride is the window, without padding; what is left at the end is dropped.
// out (N,K,PP,PQ) with PP = floor(P / pool_h), PQ alike; winner uint8 of out's shape; a window has at most
// 64 elements. Everything else as in ops/conv2d.h: contiguous; float32 or float64.
// Images that lie channels last are turned round before, and the results back.
#pragma once
#include "ops/conv2d.h"

namespace weft {

struct PoolWindow {
  std::int64_t h, w;    // pool_h, pool_w
  std::int64_t PP, PQ;  // size of the pooled output
};
constexpr std::uint8_t winner_cut = 64;

struct Conv2dReluMaxPool2dArgs {
  Conv2dParams p;
  PoolWindow pool;
  DType dtype;
  void* out;
  std::uint8_t* winner;
  const void* x;
  const void* weight;
  const void* bias;  // may be null
};
struct Conv2dReluMaxPool2dBackwardArgs {
  Conv2dParams p;
  PoolWindow pool;
  DType dtype;
  void* dx;  // each of the three may be null: not asked for
  void* dw;
  void* db;
  const void* dout;
  const std::uint8_t* winner;
  const void* x;       // read for dw only
  const void* weight;  // read for dx only
};

// `winner` receives its array.
Array conv2d_relu_max_pool2d(const Array& x, const Array& weight, const Array* bias,
                             const Conv2dOptions& options, std::int64_t pool_h, std::int64_t pool_w,
                             Array* winner);
// Each of dx, dw and db that is not null receives its gradient.
void conv2d_relu_max_pool2d_backward(const Array& dout, const Array& winner, const Array& x,
                                     const Array& weight, const Conv2dOptions& options, std::int64_t pool_h,
                                     std::int64_t pool_w, Array* dx, Array* dw, Array* db);

}  // namespace weft
