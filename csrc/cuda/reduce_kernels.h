// The kernels of reductions, for any operation of reduce_operations.h; reduce.cu chooses among them.
//
// Each result has `terms` elements, cut into `splits` pieces of `piece` elements where results alone would
// not fill the device. A piece is reduced by a group of threads; with several pieces their partial results go
// to a workspace and are joined in order. All sizes follow from the shape, so the order of additions does
// too.
//
//   reduce_rows     a group of 1, 8, 32 or 256 threads reads a piece: neighbouring elements of a result by
//                   neighbouring threads. Contiguous: 16 bytes at once from the first aligned element on.
//   reduce_columns  results lie side by side: neighbouring threads read neighbouring results, V each, and the
//                   threads of a block share their elements.
//   join_pieces     a group reads the partial results of one result.
//
// Every element is read once, and that is the time. Per element: one conversion to double and one addition
// (16 and 64 a cycle and SM).
#pragma once
#include "cuda/device/divisor.h"
#include "cuda/device/reduce.h"
#include "cuda/device/vec.h"
#include "cuda/kernels.h"
#include "cuda/reduce_operations.h"

namespace weft::cuda {

namespace {

constexpr int reduce_block = 256;

// From the number of an element, in row-major order, to its place.
struct Walk {
  int ndim;
  WideDivider sizes[max_rank];
  std::int64_t strides[max_rank];

  Walk(int n, const std::int64_t* shape, const std::int64_t* steps, std::int64_t count) : ndim(n) {
    for (int d = 0; d < ndim; ++d) {
      sizes[d] = WideDivider(shape[d], count);
      strides[d] = steps[d];
    }
  }
  __device__ std::int64_t offset(std::int64_t i) const {
    std::int64_t at = 0;
    for (int d = ndim - 1; d > 0; --d) at += sizes[d].split(i) * strides[d];
    return at + i * strides[0];
  }
};

struct ReduceShape {
  Walk kept, reduced;
  std::int64_t results, terms, splits, piece;
  unsigned
      group;  // a power of two; of reduce_rows: threads of a piece; of reduce_columns: threads side by side
  // Of reduce_columns: results side by side, and how many tiles they make.
  std::int64_t width;
  unsigned tiles;
  WideDivider by_splits;
};

__device__ std::int64_t first_of_block(unsigned group) {
  return blockIdx.x * std::int64_t{reduce_block / group};
}

// What elements [begin, end) of a contiguous result give a thread that takes every `group`-th access.
template <class Op, class T>
__device__ typename Op::Part take_contiguous(typename Op::Part part, const T* x, std::int64_t begin,
                                             std::int64_t end, int thread, unsigned group, Lens lens) {
  constexpr int V = per_16_bytes<T>;
  const auto address = reinterpret_cast<std::uintptr_t>(x + begin) / sizeof(T);
  const std::int64_t apart = (V - static_cast<int>(address % V)) % V,
                     first = begin + (end - begin < apart ? end - begin : apart);
  const std::int64_t last = first + (end - first) / V * V;
  for (std::int64_t i = begin + thread; i < first; i += group) part = Op::take(part, x[i], i, lens);
  [[maybe_unused]] constexpr int ahead = Op::squares ? 2 : 4;
#pragma unroll ahead
  for (std::int64_t i = first + thread * V; i < last; i += group * V) {
    const Pack<T, V> pack = load_pack<T, V>(x + i);
#pragma unroll
    for (int v = 0; v < V; ++v) part = Op::take(part, pack.v[v], i + v, lens);
  }
  for (std::int64_t i = last + thread; i < end; i += group) part = Op::take(part, x[i], i, lens);
  return part;
}

template <class Op, bool contiguous, class T>
__device__ typename Op::Part take_piece(const ReduceShape& s, const T* x, std::int64_t begin,
                                        std::int64_t end, int thread, Lens lens) {
  typename Op::Part part = Op::identity();
  if constexpr (contiguous) {
    return take_contiguous<Op>(part, x, begin, end, thread, s.group, lens);
  } else {
#pragma unroll 4
    for (std::int64_t i = begin + thread; i < end; i += s.group)
      part = Op::take(part, x[s.reduced.offset(i)], i, lens);
    return part;
  }
}

// Every thread of a group gets op over the group.
template <class Op>
__device__ typename Op::Part join_threads(typename Op::Part part, unsigned group) {
  if (group > warp_size) return block_reduce<Op, reduce_block>(part);
  return group_reduce<Op>(part, group);
}

template <class Op, bool contiguous>
__global__ void __launch_bounds__(reduce_block)
    reduce_rows(ReduceShape s, const typename Op::Element* x, typename Op::Part* parts, Finish finish) {
  const std::int64_t task = first_of_block(s.group) + threadIdx.x / s.group;
  const int thread = threadIdx.x & (s.group - 1);
  const bool active = task < s.results * s.splits;
  std::int64_t result = task;
  const std::int64_t split = s.by_splits.split(result), begin = active ? split * s.piece : 0;
  const std::int64_t end = !active ? 0 : begin + s.piece < s.terms ? begin + s.piece : s.terms;
  if (active) x += s.kept.offset(result);
  Lens lens{0, finish.op == ReduceOp::min || finish.op == ReduceOp::argmin};
  if constexpr (Op::squares) {
    if (finish.means && active) lens.mean = finish.means[result];
    if (finish.op == ReduceOp::var && !finish.means) {  // the piece is the whole result: its mean first
      using First = Total<typename Op::Element>;
      const auto all =
          join_threads<First>(take_piece<First, contiguous>(s, x, begin, end, thread, lens), s.group);
      lens.mean = all * finish.inverse_terms;
    }
  }
  const auto part = join_threads<Op>(take_piece<Op, contiguous>(s, x, begin, end, thread, lens), s.group);
  if (thread != 0 || !active) return;
  if (parts)
    parts[task] = part;
  else
    Op::finish(finish, result, part);
}

template <class Op, int V>
__global__ void __launch_bounds__(reduce_block)
    reduce_columns(ReduceShape s, const typename Op::Element* x, typename Op::Part* parts, Finish finish) {
  using Part = typename Op::Part;
  const unsigned splits = static_cast<unsigned>(s.splits), above = blockIdx.x / splits,
                 outer = above / s.tiles;
  const std::int64_t split = blockIdx.x - above * splits, tile = above - outer * s.tiles;
  const unsigned across = s.group, column = threadIdx.x & (across - 1), row = threadIdx.x / across,
                 rows = reduce_block / across;
  const std::int64_t first = (tile * across + column) * V, result = outer * s.width + first;
  const std::int64_t end = (split + 1) * s.piece < s.terms ? (split + 1) * s.piece : s.terms;
  const bool active = first < s.width;
  Part part[V];
  Lens lens[V] = {};
#pragma unroll
  for (int v = 0; v < V; ++v) {
    part[v] = Op::identity();
    lens[v].turned = finish.op == ReduceOp::min || finish.op == ReduceOp::argmin;
    if (Op::squares && active && finish.means) lens[v].mean = finish.means[result + v];
  }
  if (active) {
    x += s.kept.offset(result);
    [[maybe_unused]] constexpr int ahead = sizeof(Part) > 8 ? 2 : 4;
#pragma unroll ahead
    for (std::int64_t i = split * s.piece + row; i < end; i += rows) {
      const auto pack = load_pack<typename Op::Element, V>(x + s.reduced.offset(i));
#pragma unroll
      for (int v = 0; v < V; ++v) part[v] = Op::take(part[v], pack.v[v], i, lens[v]);
    }
  }
#pragma unroll
  for (int v = 0; v < V; ++v) part[v] = column_reduce<Op, reduce_block>(part[v], across);
  if (row != 0 || !active) return;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    if (parts)
      parts[(result + v) * s.splits + split] = part[v];
    else
      Op::finish(finish, result + v, part[v]);
  }
}

template <class Op>
__global__ void __launch_bounds__(reduce_block)
    join_pieces(std::int64_t results, std::int64_t splits, unsigned group, const typename Op::Part* parts,
                Finish finish) {
  const std::int64_t result = first_of_block(group) + threadIdx.x / group;
  const int thread = threadIdx.x & (group - 1);
  typename Op::Part part = Op::identity();
  if (result < results) {
#pragma unroll 4
    for (std::int64_t i = thread; i < splits; i += group)
      part = Op::combine(part, parts[result * splits + i]);
  }
  part = join_threads<Op>(part, group);
  if (thread == 0 && result < results) Op::finish(finish, result, part);
}

// --- launches

template <class Op>
void launch_join(const Stream& stream, const ReduceShape& s, const typename Op::Part* parts,
                 const Finish& finish) {
  const unsigned group = s.splits > 64 ? reduce_block : warp_size;
  const auto blocks = static_cast<unsigned>(ceil_div(s.results, reduce_block / group));
  launch_grid<reduce_block>(stream, join_pieces<Op>, blocks, s.results, s.splits, group, parts, finish);
}

template <class Op>
void launch_rows(const Stream& stream, const ReduceShape& s, bool contiguous, const void* from,
                 const Finish& finish) {
  using T = typename Op::Element;
  const auto* x = static_cast<const T*>(from);
  const bool pieces = s.splits > 1;
  const Workspace parts(stream, pieces ? s.results * s.splits * sizeof(typename Op::Part) : 0);
  auto* to = pieces ? parts.data<typename Op::Part>() : nullptr;
  const dim3 blocks(static_cast<unsigned>(ceil_div(s.results * s.splits, reduce_block / s.group)));
  if (Op::packs && contiguous)
    launch_grid<reduce_block>(stream, reduce_rows<Op, Op::packs>, blocks, s, x, to, finish);
  else
    launch_grid<reduce_block>(stream, reduce_rows<Op, false>, blocks, s, x, to, finish);
  if (pieces) launch_join<Op>(stream, s, to, finish);
}

// Results side by side that a thread takes; their packs are aligned.
template <class Op>
constexpr int columns_of_thread =
    !Op::packs                               ? 1
    : per_16_bytes<typename Op::Element> > 4 ? 4
                                             : per_16_bytes<typename Op::Element>;

template <class Op>
void launch_columns(const Stream& stream, const ReduceShape& s, bool packs, const void* from,
                    const Finish& finish) {
  using T = typename Op::Element;
  const auto* x = static_cast<const T*>(from);
  const bool pieces = s.splits > 1;
  const Workspace parts(stream, pieces ? s.results * s.splits * sizeof(typename Op::Part) : 0);
  auto* to = pieces ? parts.data<typename Op::Part>() : nullptr;
  const dim3 blocks(static_cast<unsigned>(s.results / s.width * s.tiles * s.splits));
  if (packs)
    launch_grid<reduce_block>(stream, reduce_columns<Op, columns_of_thread<Op>>, blocks, s, x, to, finish);
  else
    launch_grid<reduce_block>(stream, reduce_columns<Op, 1>, blocks, s, x, to, finish);
  if (pieces) launch_join<Op>(stream, s, to, finish);
}

}  // namespace

}  // namespace weft::cuda
