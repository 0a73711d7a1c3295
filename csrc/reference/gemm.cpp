// Matrix product; see ops/gemm.h. Sums are kept in double.
#include "reference/kernels.h"

namespace weft::reference {

void gemm(Stream& stream, const GemmArgs& g) {
  dispatch_floating(g.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t n = 0; n < g.batch; ++n) {
      const T* a = static_cast<const T*>(g.a.data) + n * g.a.batch_stride;
      const T* b = static_cast<const T*>(g.b.data) + n * g.b.batch_stride;
      T* c = static_cast<T*>(g.c.data) + n * g.c.batch_stride;
      const T* bias = static_cast<const T*>(g.bias);
      for (std::int64_t i = 0; i < g.M; ++i)
        for (std::int64_t j = 0; j < g.N; ++j) {
          double sum = 0;
          for (std::int64_t k = 0; k < g.K; ++k)
            sum += double{a[i * g.a.row_stride + k * g.a.column_stride]} *
                   double{b[k * g.b.row_stride + j * g.b.column_stride]};
          T& out = c[i * g.c.row_stride + j * g.c.column_stride];
          double value = g.alpha * sum;
          if (g.beta != 0) value += g.beta * double{out};
          if (g.bias_axis == BiasAxis::row) value += double{bias[i]};
          if (g.bias_axis == BiasAxis::column) value += double{bias[j]};
          T result = static_cast<T>(value);
          if (g.activation != Activation::none)
            activation_forward(stream, {g.activation, g.dtype, 1, &result, &result, g.activation_alpha});
          out = result;
        }
    }
  });
}

}  // namespace weft::reference
