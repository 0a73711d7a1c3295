// Normalization to zero mean and unit variance, then an affine map.
//
// Batch normalization of x (N, C, L), statistics over N and L for each channel c (M = N L values):
//
//   mean = sum x / M,  var = sum (x - mean)^2 / M           inference: the running ones
//   inv_std = 1 / sqrt(var + eps)
//   v = (x - mean) inv_std gamma + beta (+ residual)        out = relu ? max(v, 0) : v
//   running_mean = (1 - m) running_mean + m mean            m: momentum; cumulative: 1 / num_batches_tracked,
//   running_var = (1 - m) running_var + m var M / (M - 1)   which is counted up first
//
//   g = relu ? dout where v > 0 : dout                      dresidual = g
//   dbeta = sum g,  dgamma = sum g xhat                     xhat = (x - mean) inv_std
//   dx = gamma inv_std (g - dbeta / M - xhat dgamma / M)    inference: dx = gamma inv_std g
//
// Row normalization of x (rows, channels, L), statistics over each row's channels L values; gamma and beta
// hold groups x channels values, row r takes the channels of group r % groups. With L = groups = 1 that is
// layer normalization, with rows = N groups group normalization.
//
// Contiguous; float32 or float64. Batch normalization of images that lie channels last is that of the rows of
// a matrix, (N L, C, 1). mean and inv_std are outputs of forward and inputs of backward. An array
// that was not given, or whose gradient nobody asks for, is null.
// Sources: Ioffe, Szegedy 2015; Ba, Kiros, Hinton 2016; Wu, He 2018.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace weft {

struct BatchNormArgs {
  DType dtype;
  std::int64_t N, C, L;
  void* out;
  void* mean;     // (C)
  void* inv_std;  // (C)
  const void* x;
  const void* gamma;     // (C)
  const void* beta;      // (C)
  const void* residual;  // as x
  void* running_mean;    // (C), updated in training
  void* running_var;     // (C)
  std::int64_t* num_batches_tracked;
  double momentum, eps;
  bool cumulative, training, relu;
};
struct BatchNormBackwardArgs {
  DType dtype;
  std::int64_t N, C, L;
  void* dx;
  void* dgamma;
  void* dbeta;
  void* dresidual;
  const void* dout;
  const void* x;
  const void* mean;
  const void* inv_std;
  const void* gamma;
  const void* beta;
  const void* out;  // with relu, where a residual was added: says where v > 0. Else null
  bool training, relu;
};
struct RowNormArgs {
  DType dtype;
  std::int64_t rows, channels, L, groups;
  void* out;
  void* mean;     // (rows)
  void* inv_std;  // (rows)
  const void* x;
  const void* gamma;
  const void* beta;
  double eps;
};
struct RowNormBackwardArgs {
  DType dtype;
  std::int64_t rows, channels, L, groups;
  void* dx;
  void* dgamma;
  void* dbeta;
  const void* dout;
  const void* x;
  const void* mean;
  const void* inv_std;
  const void* gamma;
};

}  // namespace weft
