// Matrix product; see ops/gemm.h. The policy is at the end: a vector times a matrix, the packed product, the
// naive kernel.
#include "cpu/gemm/packed.h"
#include "cpu/gemm/vector_matrix.h"
#include "cpu/kernels.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

// C^T = B^T A^T: the same product for a C whose rows, not columns, lie together.
GemmArgs transposed(const GemmArgs& g) {
  GemmArgs t = g;
  t.M = g.N;
  t.N = g.M;
  t.a = {g.b.data, g.b.column_stride, g.b.row_stride, g.b.batch_stride};
  t.b = {g.a.data, g.a.column_stride, g.a.row_stride, g.a.batch_stride};
  t.c = {g.c.data, g.c.column_stride, g.c.row_stride, g.c.batch_stride};
  t.bias_axis = g.bias_axis == BiasAxis::row      ? BiasAxis::column
                : g.bias_axis == BiasAxis::column ? BiasAxis::row
                                                  : BiasAxis::none;
  return t;
}

template <class T>
void one_problem(const GemmArgs& g, std::int64_t n, bool relu) {
  const T* a = static_cast<const T*>(g.a.data) + n * g.a.batch_stride;
  const T* b = static_cast<const T*>(g.b.data) + n * g.b.batch_stride;
  T* c = static_cast<T*>(g.c.data) + n * g.c.batch_stride;
  if (!vector_matrix<T>(g, a, b, c, relu)) gemm_packed<T>(g, a, b, c, relu);
}

template <class T>
void all_problems(const GemmArgs& g, bool relu) {
  // Many small problems share the threads; a large one has them all.
  constexpr std::int64_t small = 128 * 128 * 128;
  const std::int64_t size = g.M * g.N * g.K;
  if (g.batch > 1 && size <= small)
    parallel_tasks(g.batch, g.batch * size / 8, [&](std::int64_t n) { one_problem<T>(g, n, relu); });
  else
    for (std::int64_t n = 0; n < g.batch; ++n) one_problem<T>(g, n, relu);
}

bool fast(Stream& stream, const GemmArgs& given) {
  if (given.M == 0 || given.N == 0 || given.K == 0 || given.alpha == 0) return false;
  const bool turn = given.c.column_stride != 1 && given.c.row_stride == 1;
  const GemmArgs g = turn ? transposed(given) : given;
  if (g.c.column_stride != 1) return false;
  // Of the activations only relu is part of the tile's end; the others run over C afterwards.
  const bool relu = g.activation == Activation::relu;
  const bool afterwards = g.activation != Activation::none && !relu;
  const bool gapless = g.c.row_stride == g.N && (g.batch == 1 || g.c.batch_stride == g.M * g.N);
  if (afterwards && !gapless) return false;
  dispatch_floating(g.dtype, [&](auto type) { all_problems<typename decltype(type)::type>(g, relu); });
  if (afterwards)
    activation_forward(stream,
                       {g.activation, g.dtype, g.batch * g.M * g.N, g.c.data, g.c.data, g.activation_alpha});
  return true;
}

}  // namespace

void gemm(Stream& stream, const GemmArgs& a) {
  const FlushDenormals flush;
  if (fast(stream, a)) return;
  reference::gemm(stream, a);
}

}  // namespace weft::cpu::WEFT_ISA
