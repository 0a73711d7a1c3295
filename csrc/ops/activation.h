// Activation functions and their derivatives, over arrays without gaps, in any order, of a floating dtype.
//
//   step        y = 1 if x > 0 else 0                     dy/dx = 0
//   sigmoid     y = 1 / (1 + exp(-x))                     y (1 - y)
//   tanh        y = tanh(x)                               1 - y^2
//   relu        y = max(x, 0)                             y > 0
//   leaky_relu  y = x if x > 0 else alpha x               1 or alpha
//   elu         y = x if x > 0 else alpha (exp(x) - 1)    1 or alpha exp(x)
//   softplus    y = log(1 + exp(beta x)) / beta           sigmoid(beta x);   y = x where beta x > 20
//   gelu        y = x Phi(x), Phi by erf                  Phi(x) + x phi(x)
//   gelu_tanh   y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
//   silu        y = x sigmoid(x)                          s (1 + x (1 - s))
//
// `alpha` is the parameter of leaky_relu and elu, and beta for softplus. NaN propagates through all
// of them but step. Where relu's or step's derivative is 0, dx is 0 whatever dout is, as in PyTorch.
// Sources: gelu Hendrycks, Gimpel 2016; elu Clevert et al. 2015; silu Elfwing et al. 2017.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "core/enum.h"

namespace weft {

class Array;

// clang-format off
#define WEFT_ACTIVATIONS(F) \
  F(none) F(step) F(sigmoid) F(tanh) F(relu) F(leaky_relu) F(elu) F(softplus) F(gelu) F(gelu_tanh) F(silu)
// clang-format on
enum class Activation : std::uint8_t { WEFT_ACTIVATIONS(WEFT_ENUM_MEMBER) };

struct ActivationArgs {
  Activation kind;
  DType dtype;
  std::int64_t n;
  void* out;
  const void* x;
  double alpha;
};

// dx = dout * f'(.). `saved` is the output y for sigmoid, tanh and relu, and the input x for the others.
struct ActivationBackwardArgs {
  Activation kind;
  DType dtype;
  std::int64_t n;
  void* dx;
  const void* dout;
  const void* saved;
  double alpha;
};

// ValueError for an unknown name: "activation: expected one of none, step, ..., got 'x'".
Activation parse_activation(const char* text);
const char* name(Activation kind);

Array activation(Activation kind, const Array& x, double alpha);
Array activation_backward(Activation kind, const Array& dout, const Array& saved, double alpha);

}  // namespace weft
