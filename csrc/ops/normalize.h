// The operations whose kernels ops/norm.h describes.
#pragma once
#include "core/array.h"
#include "ops/norm.h"

namespace weft {

struct Normalized {
  Array out, mean, inv_std;
};
struct NormGradients {  // undefined where not asked for
  Array dx, dgamma, dbeta, dresidual;
};
struct WantedGradients {
  bool dx = true, dgamma = true, dbeta = true, dresidual = false;
};

struct BatchNormOptions {
  bool training = false, cumulative = false, relu = false;
  double momentum = 0.1, eps = 1e-5;
};
struct BatchNormState {  // null where not kept
  const Array *running_mean = nullptr, *running_var = nullptr, *num_batches_tracked = nullptr;
};
// x (N, C, ...).
Normalized batch_norm(const Array& x, const Array* gamma, const Array* beta, const BatchNormState& state,
                      const Array* residual, const BatchNormOptions& options);
// `out`: the output, where relu followed a residual.
NormGradients batch_norm_backward(const Array& dout, const Array& x, const Array& mean, const Array& inv_std,
                                  const Array* gamma, const Array* beta, const Array* out, bool training,
                                  bool relu, const WantedGradients& wanted);
// Over the last axes, which have the shape `normalized`; gamma and beta have it too.
Normalized layer_norm(const Array& x, const Dims& normalized, const Array* gamma, const Array* beta,
                      double eps);
NormGradients layer_norm_backward(const Array& dout, const Array& x, const Dims& normalized,
                                  const Array& mean, const Array& inv_std, const Array* gamma,
                                  const WantedGradients& wanted);
// x (N, C, ...), over the channels of each of `groups` groups.
Normalized group_norm(const Array& x, std::int64_t groups, const Array* gamma, const Array* beta, double eps);
NormGradients group_norm_backward(const Array& dout, const Array& x, std::int64_t groups, const Array& mean,
                                  const Array& inv_std, const Array* gamma, const WantedGradients& wanted);

}  // namespace weft
