// Matrix product; see ops/gemm.h. Sums are kept in double.
#include "reference/kernels.h"

namespace weft::reference {

namespace {

// In: of A, B and bias; Out: of C.
template <class In, class Out>
void multiply(Stream& stream, const GemmArgs& g) {
  for (std::int64_t n = 0; n < g.batch; ++n) {
    const In* a = static_cast<const In*>(g.a.data) + n * g.a.batch_stride;
    const In* b = static_cast<const In*>(g.b.data) + n * g.b.batch_stride;
    Out* c = static_cast<Out*>(g.c.data) + n * g.c.batch_stride;
    const In* bias = static_cast<const In*>(g.bias);
    for (std::int64_t i = 0; i < g.M; ++i)
      for (std::int64_t j = 0; j < g.N; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < g.K; ++k)
          sum += double{a[i * g.a.row_stride + k * g.a.column_stride]} *
                 double{b[k * g.b.row_stride + j * g.b.column_stride]};
        Out& out = c[i * g.c.row_stride + j * g.c.column_stride];
        double value = g.alpha * sum;
        if (g.beta != 0) value += g.beta * double{out};
        if (g.bias_axis == BiasAxis::row) value += double{bias[i]};
        if (g.bias_axis == BiasAxis::column) value += double{bias[j]};
        auto result = static_cast<Wide<Out>>(value);
        if (g.activation != Activation::none)
          activation_forward(
              stream, {g.activation, dtype_of<Wide<Out>>::value, 1, &result, &result, g.activation_alpha});
        out = static_cast<Out>(result);
      }
  }
}

}  // namespace

void gemm(Stream& stream, const GemmArgs& g) {
  if (g.dtype == DType::bfloat16 && g.out_dtype == DType::float32)
    return multiply<BFloat16, float>(stream, g);
  dispatch_floating_or_bfloat16(g.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    multiply<T, T>(stream, g);
  });
}

}  // namespace weft::reference
