// Matrix product; see ops/gemm.h. The policy, in choose(), is the first method that takes the problem:
//
//   rows       up to 8 rows, a large B whose columns lie together: memory's speed    (gemm/rows.h)
//   dots       few rows, A and B with their steps of K side by side (B = W^T)        (gemm/dots.h)
//   row        one row, a B that the caches hold                                     (gemm/thin.h)
//   outer      up to 4 steps of K: the time is that of writing C                     (gemm/thin.h)
//   in place   A and B within a few MiB: they are read where they lie                (gemm/in_place.h)
//   tall       float32, many rows, B in a quarter of a MiB: A is read where it lies  (gemm/tall.h)
//   packed     large: blocks of A and B are copied into the order of the tiles       (gemm/packed.h)
//
// Empty products and C with gaps in both directions go to the naive kernel. bfloat16: gemm/bfloat16.cpp.
#include "cpu/gemm/bfloat16.h"
#include "cpu/gemm/dots.h"
#include "cpu/gemm/in_place.h"
#include "cpu/gemm/multiply.h"
#include "cpu/gemm/packed.h"
#include "cpu/gemm/rows.h"
#include "cpu/gemm/tall.h"
#include "cpu/gemm/thin.h"
#include "cpu/kernels.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

namespace {

template <class T>
void choose(const Problem<T>& g) {
  constexpr std::int64_t cached = (512 << 10) / sizeof(T), small = 5 << 18;
  const std::int64_t dots_rows = g.K >= 256 ? 24 : 8;
  if (g.M <= most_rows && g.b_column == 1 && g.N * g.K > cached) return multiply_rows(g);
  if (g.M <= dots_rows && g.a_column == 1 && g.b_row == 1) return multiply_dots(g);
  if (takes_row(g)) return multiply_row(g);
  if (takes_outer(g)) return multiply_outer(g);
  Problem<T> p = g;
  p.streams = can_stream(g, in_place_slice) &&
              leaves_cache(max_of<std::int64_t>(g.moved, 4 * (g.M * g.K + g.K * g.N + g.M * g.N)));
  if (g.M <= 2 * tile_rows || max_of(g.M, g.N) * g.K <= small) return multiply_in_place(p);
  if constexpr (sizeof(T) == 4)
    if (takes_tall(g)) return multiply_tall(p);
  multiply_packed(p);
}

template <class T>
void one_problem(const GemmArgs& g, std::int64_t n, bool relu) {
  choose<T>({g.M, g.N, g.K, static_cast<const T*>(g.a.data) + n * g.a.batch_stride, g.a.row_stride,
             g.a.column_stride, static_cast<const T*>(g.b.data) + n * g.b.batch_stride, g.b.row_stride,
             g.b.column_stride, static_cast<T*>(g.c.data) + n * g.c.batch_stride, g.c.row_stride,
             static_cast<T>(g.alpha), static_cast<T>(g.beta),
             g.bias_axis == BiasAxis::none ? nullptr : static_cast<const T*>(g.bias), g.bias_axis, relu});
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
  // A column is a row for the methods: they are made for few rows and many columns.
  const bool turn = given.c.row_stride == 1 && (given.c.column_stride != 1 || given.N == 1);
  const GemmArgs g = turn ? transposed(given) : given;
  if (g.c.column_stride != 1 && g.N > 1) return false;
  // Of the activations only relu is part of the tile's end; the others run over C afterwards.
  const bool relu = g.activation == Activation::relu;
  const bool afterwards = g.activation != Activation::none && !relu;
  const bool gapless = (g.c.row_stride == g.N || g.M == 1) && (g.batch == 1 || g.c.batch_stride == g.M * g.N);
  if (afterwards && !gapless) return false;
  dispatch_floating(g.dtype, [&](auto type) { all_problems<typename decltype(type)::type>(g, relu); });
  if (afterwards)
    activation_forward(stream,
                       {g.activation, g.dtype, g.batch * g.M * g.N, g.c.data, g.c.data, g.activation_alpha});
  return true;
}

}  // namespace

void multiply(const Problem<float>& g) { choose(g); }
void multiply(const Problem<double>& g) { choose(g); }

void gemm(Stream& stream, const GemmArgs& a) {
  if (a.dtype == DType::bfloat16) return gemm_bfloat16(stream, a);
  const FlushDenormals flush;
  if (fast(stream, a)) return;
  reference::gemm(stream, a);
}

}  // namespace weft::cpu::WEFT_ISA
