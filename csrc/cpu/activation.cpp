// Activation functions: out[i] = f(x[i]) over contiguous arrays; see ops/activation.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {
constexpr std::int64_t grain = 16384;

bool relu(const ActivationArgs& a) {
  if (a.kind != Activation::relu || a.dtype != DType::float32) return false;
  auto* out = static_cast<float*>(a.out);
  const auto* x = static_cast<const float*>(a.x);
  parallel_ranges(a.n, grain, a.n, [=](std::int64_t begin, std::int64_t end) {
    // !(x <= 0) rather than x > 0: NaN goes through.
    for (std::int64_t i = begin; i < end; ++i) out[i] = x[i] <= 0 ? 0 : x[i];
  });
  return true;
}
}  // namespace

void activation_forward(Stream& stream, const ActivationArgs& a) {
  if (relu(a)) return;
  reference::activation_forward(stream, a);
}

void activation_backward(Stream& stream, const ActivationBackwardArgs& a) {
  reference::activation_backward(stream, a);
}

}  // namespace weft::cpu::WEFT_ISA
