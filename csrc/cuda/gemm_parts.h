// Products whose K is cut into parts, so that there are blocks for all SMs: each part writes its sums to a
// workspace, and a second pass adds them, in their order, and finishes C.
#pragma once
#include "cuda/gemm_problem.h"
#include "cuda/tile_plan.h"

namespace weft::cuda {

// multiply_adds: of an SM in a cycle.
template <class In, class Out>
TilePlan plan_product(const Stream& stream, const Product<In, Out>& p, double multiply_adds,
                      const TileShape* tiles, int count) {
  return plan_tiles(properties(stream).multiprocessors, multiply_adds, tiles, count,
                    {p.M, p.N, p.K, p.batch, sizeof(Wide<In>)});
}

// The product that writes sums as they are, to `sums`: (parts, batch, M, N).
template <class In, class Out>
Product<In, Wide<In>> unfinished(const Product<In, Out>& p, Wide<In>* sums) {
  Product<In, Wide<In>> q{};
  q.batch = p.batch, q.M = p.M, q.N = p.N, q.K = p.K;
  q.a = p.a, q.a_row = p.a_row, q.a_column = p.a_column, q.a_batch = p.a_batch;
  q.b = p.b, q.b_row = p.b_row, q.b_column = p.b_column, q.b_batch = p.b_batch;
  q.c = sums, q.c_row = p.N, q.c_column = 1, q.c_batch = p.M * p.N;
  q.alpha = 1, q.beta = 0, q.axis = BiasAxis::none, q.activation = Activation::none;
  return q;
}

// C from the sums of `parts` parts. For the four kinds of products.
template <class In, class Out>
void finish_parts(Stream& stream, const Product<In, Out>& p, const Wide<In>* sums, int parts);

// multiply(product, parts), in one pass or in two.
template <class In, class Out, class Multiply>
void multiply_in_parts(Stream& stream, const Product<In, Out>& p, int parts, const Multiply& multiply) {
  if (parts == 1) return multiply(p, 1);
  const Workspace sums(stream, static_cast<std::size_t>(parts * p.batch * p.M * p.N) * sizeof(Wide<In>));
  multiply(unfinished(p, sums.data<Wide<In>>()), parts);
  finish_parts(stream, p, sums.data<Wide<In>>(), parts);
}

}  // namespace weft::cuda
