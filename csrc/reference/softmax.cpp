// Softmax and log-softmax; the formulas are in ops/softmax.h. Sums are kept in double.
#include <cmath>

#include "reference/kernels.h"

namespace weft::reference {

void softmax_forward(Stream&, const SoftmaxArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t row = 0; row < a.outer * a.inner; ++row) {
      const std::int64_t start = row / a.inner * a.n * a.inner + row % a.inner;
      const T* x = static_cast<const T*>(a.x) + start;
      T* out = static_cast<T*>(a.out) + start;
      T largest = x[0];
      for (std::int64_t i = 1; i < a.n; ++i)
        if (!(x[i * a.inner] <= largest)) largest = x[i * a.inner];  // NaN wins
      double sum = 0;
      for (std::int64_t i = 0; i < a.n; ++i) sum += std::exp(double{x[i * a.inner]} - largest);
      for (std::int64_t i = 0; i < a.n; ++i) {
        const double shifted = double{x[i * a.inner]} - largest;
        out[i * a.inner] = static_cast<T>(a.log ? shifted - std::log(sum) : std::exp(shifted) / sum);
      }
    }
  });
}

void softmax_backward(Stream&, const SoftmaxBackwardArgs& a) {
  dispatch_floating(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t row = 0; row < a.outer * a.inner; ++row) {
      const std::int64_t start = row / a.inner * a.n * a.inner + row % a.inner;
      const T* dout = static_cast<const T*>(a.dout) + start;
      const T* out = static_cast<const T*>(a.out) + start;
      T* dx = static_cast<T*>(a.dx) + start;
      double sum = 0;
      for (std::int64_t i = 0; i < a.n; ++i)
        sum += a.log ? double{dout[i * a.inner]} : double{dout[i * a.inner]} * double{out[i * a.inner]};
      for (std::int64_t i = 0; i < a.n; ++i) {
        const double y = out[i * a.inner], dy = dout[i * a.inner];
        dx[i * a.inner] = static_cast<T>(a.log ? dy - std::exp(y) * sum : y * (dy - sum));
      }
    }
  });
}

}  // namespace weft::reference
