#include "ops/activation.h"

#include <string_view>

#include "backend.h"
#include "core/error.h"
#include "core/stream.h"
#include "ops/check.h"

namespace weft {

namespace {
constexpr const char* names[] = {WEFT_ACTIVATIONS(WEFT_ENUM_NAME)};
}

const char* name(Activation kind) { return names[static_cast<int>(kind)]; }

Activation parse_activation(const char* text) {
  std::string all;
  for (int i = 0; i < static_cast<int>(std::size(names)); ++i) {
    if (std::string_view(names[i]) == text) return static_cast<Activation>(i);
    all += (i ? ", " : "") + std::string(names[i]);
  }
  throw ValueError(str("activation: expected one of ", all, "; got '", text, "'"));
}

Array activation(Activation kind, const Array& x, double alpha) {
  check_floating_or_bfloat16(name(kind), "input", x);
  check_value(kind != Activation::softplus || alpha > 0, "softplus: beta must be positive, got ", alpha);
  const Array in = dense(x);
  Array out = Array::empty_like(in, in.dtype());
  const ActivationArgs args{kind, in.dtype(), in.numel(), out.raw(), in.raw(), alpha};
  current_stream(in.device())
      .submit("activation_forward", backend(in.device()).activation_forward, args, {&out, &in});
  return out;
}

Array activation_backward(Activation kind, const Array& dout, const Array& saved, double alpha) {
  const char* op = name(kind);
  check_floating_or_bfloat16(op, "saved", saved);
  check_same_dtype(op, "dout", dout, "saved", saved);
  check_same_shape(op, "dout", dout, "saved", saved);
  check_same_device(op, "dout", dout, "saved", saved);
  const Array s = dense(saved), g = laid_out(dout, s);
  Array dx = Array::empty_like(s, s.dtype());
  const ActivationBackwardArgs args{kind, s.dtype(), s.numel(), dx.raw(), g.raw(), s.raw(), alpha};
  current_stream(s.device())
      .submit("activation_backward", backend(s.device()).activation_backward, args, {&dx, &g, &s});
  return dx;
}

}  // namespace weft
