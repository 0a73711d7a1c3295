// Which kernel of reduce_kernels.h reduces an array, and how it is cut.
#pragma once
#include "cuda/reduce_kernels.h"

namespace weft::cuda {

namespace {

std::int64_t count_of(int ndim, const std::int64_t* shape) {
  std::int64_t n = 1;
  for (int d = 0; d < ndim; ++d) n *= shape[d];
  return n;
}

constexpr std::int64_t wanted_blocks = 1024;  // of 256 threads: what an H200 holds at once
constexpr std::int64_t least_piece = 8192;    // elements that are worth a block of reduce_rows

// Threads of a result: few where a result has few elements, unless there are few results too.
unsigned group_of(std::int64_t results, std::int64_t terms) {
  unsigned group = terms <= 8 ? 1 : terms <= 64 ? 8 : terms <= 1024 ? warp_size : reduce_block;
  while (group < reduce_block && results * group < 65536 && group * 4 <= terms)
    group = group == 1 ? 8 : group == 8 ? 32 : 256;
  return group;
}

void cut_rows(ReduceShape& s) {
  s.group = group_of(s.results, s.terms);
  if (s.group < reduce_block || s.results >= wanted_blocks || s.terms < 2 * least_piece) return;
  const std::int64_t by_size = s.terms / least_piece, by_blocks = ceil_div(wanted_blocks, s.results);
  s.piece = ceil_div(s.terms, by_size < by_blocks ? by_size : by_blocks);
  s.piece = ceil_div(s.piece, 64) * 64;
  s.splits = ceil_div(s.terms, s.piece);
}

void cut_columns(ReduceShape& s, const ReduceArgs& a, int V) {
  s.width = a.kept_shape[a.kept_ndim - 1];
  s.group = power_of_two(ceil_div(s.width, V), warp_size);
  s.tiles = static_cast<unsigned>(ceil_div(s.width, std::int64_t{s.group} * V));
  const std::int64_t blocks = s.results / s.width * s.tiles, rows = reduce_block / s.group;
  if (blocks >= wanted_blocks || s.terms < 16 * rows) return;
  const std::int64_t by_size = s.terms / (8 * rows), by_blocks = ceil_div(wanted_blocks, blocks);
  s.piece = ceil_div(s.terms, by_size < by_blocks ? by_size : by_blocks);
  s.splits = ceil_div(s.terms, s.piece);
}

// Every pack of V results starts at a multiple of its size, and none reaches over the end.
template <class T>
bool columns_in_packs(const ReduceArgs& a, int V) {
  bool even = a.kept_shape[a.kept_ndim - 1] % V == 0 && aligned(a.x, V * sizeof(T));
  for (int d = 0; d < a.kept_ndim - 1; ++d) even = even && a.kept_strides[d] % V == 0;
  for (int d = 0; d < a.reduced_ndim; ++d) even = even && a.reduced_strides[d] % V == 0;
  return even;
}

template <class Op>
void run_operation(Stream& stream, const ReduceArgs& a, Finish finish) {
  const std::int64_t results = count_of(a.kept_ndim, a.kept_shape),
                     terms = count_of(a.reduced_ndim, a.reduced_shape);
  ReduceShape s{.kept = Walk(a.kept_ndim, a.kept_shape, a.kept_strides, results),
                .reduced = Walk(a.reduced_ndim, a.reduced_shape, a.reduced_strides, terms),
                .results = results,
                .terms = terms,
                .splits = 1,
                .piece = terms,
                .group = 1,
                .width = 1,
                .tiles = 1,
                .by_splits = {}};
  const std::int64_t kept = a.kept_strides[a.kept_ndim - 1], reduced = a.reduced_strides[a.reduced_ndim - 1];
  const bool columns = kept == 1 && reduced != 1 && a.kept_shape[a.kept_ndim - 1] > 1;
  bool packs = false;
  if (columns) {
    packs = columns_in_packs<typename Op::Element>(a, columns_of_thread<Op>);
    cut_columns(s, a, packs ? columns_of_thread<Op> : 1);
  } else {
    cut_rows(s);
  }
  s.by_splits = WideDivider(s.splits, results * s.splits);
  const auto run = [&]<class Each>(Type<Each>) {
    if (columns)
      launch_columns<Each>(stream, s, packs, a.x, finish);
    else
      launch_rows<Each>(stream, s, a.reduced_ndim == 1 && reduced == 1, a.x, finish);
  };
  if constexpr (Op::squares) {
    if (a.op == ReduceOp::var && (columns || s.splits > 1)) {
      const Workspace means(stream, results * sizeof(double));
      finish.means = means.data<double>();
      run(Type<Total<typename Op::Element>>{});
      return run(Type<Op>{});
    }
  }
  run(Type<Op>{});
}

// The operations that every dtype has.
template <class T>
void reduce_numbers(Stream& stream, const ReduceArgs& a, const Finish& finish) {
  switch (a.op) {
    case ReduceOp::prod: return run_operation<Product<T>>(stream, a, finish);
    case ReduceOp::max:
    case ReduceOp::min: return run_operation<Extreme<T>>(stream, a, finish);
    case ReduceOp::argmax:
    case ReduceOp::argmin: return run_operation<Position<T>>(stream, a, finish);
    case ReduceOp::any:
    case ReduceOp::all: return run_operation<Truth<T>>(stream, a, finish);
    default: return run_operation<Total<T>>(stream, a, finish);
  }
}

// Those of floating numbers too.
template <class T>
void reduce_real(Stream& stream, const ReduceArgs& a, const Finish& finish) {
  switch (a.op) {
    case ReduceOp::sum_squares:
    case ReduceOp::var: return run_operation<Squares<T>>(stream, a, finish);
    default: return reduce_numbers<T>(stream, a, finish);
  }
}

}  // namespace

// By dtype, each in a source of its own; bfloat16: sum, mean, sum_squares and var.
void reduce_float32(Stream& stream, const ReduceArgs& args, const Finish& finish);
void reduce_float64(Stream& stream, const ReduceArgs& args, const Finish& finish);
void reduce_int64(Stream& stream, const ReduceArgs& args, const Finish& finish);
void reduce_int32(Stream& stream, const ReduceArgs& args, const Finish& finish);
void reduce_bytes(Stream& stream, const ReduceArgs& args, const Finish& finish);

}  // namespace weft::cuda
