// Reductions; see ops/reduce.h.
//
// Two walks. By rows: each result reads its own elements, stretch by stretch of the innermost reduced
// dimension. By columns: a tile of neighbouring results grows together, row by row, where they lie side by
// side in memory, or where each has few elements. A result with many elements is cut into blocks whose size
// depends on the problem alone; each block has a partial result, and these are joined in order.
#include "cpu/kernels.h"
#include "cpu/nest.h"
#include "cpu/reduce_loops.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t block = 32768;  // elements of a partial result
constexpr std::int64_t grain = 16384;  // elements of a task
constexpr std::int64_t tile = 256;     // neighbouring results that grow together
constexpr int max_part = 8;            // bytes of a partial result

struct Problem {
  const ReduceArgs& a;
  const ReduceLoops& loops;
  const double* means;          // of the second pass of a variance, one for each result
  std::int64_t results, terms;  // terms: elements of a result
  std::int64_t item;            // bytes of an element

  Problem(const ReduceArgs& args, const ReduceLoops& found, const double* first_pass)
      : a(args),
        loops(found),
        means(first_pass),
        results(count_of(args.kept_ndim, args.kept_shape)),
        terms(count_of(args.reduced_ndim, args.reduced_shape)),
        item(size_of(args.dtype)) {}

  const char* at(std::int64_t offset) const { return static_cast<const char*>(a.x) + offset * item; }
  Place<1> kept(int ndim) const { return {ndim, a.kept_shape, {a.kept_strides}, {}, {}}; }
  Place<1> reduced(int ndim) const { return {ndim, a.reduced_shape, {a.reduced_strides}, {}, {}}; }
};

// f(first element, length, the first one's number) for each stretch of the innermost reduced dimension, over
// the elements [begin, end) of the result that starts at `from`. Stops where f gives false.
template <class F>
[[gnu::always_inline]] inline void for_reduced(const Problem& p, const char* from, std::int64_t begin,
                                               std::int64_t end, F&& f) {
  const int last = p.a.reduced_ndim - 1;
  const std::int64_t n = p.a.reduced_shape[last], stride = p.a.reduced_strides[last];
  if (begin >= end) return;
  Place<1> place = p.reduced(last);
  place.seek(begin / n);
  for (std::int64_t i = begin; i < end; place.next()) {
    const std::int64_t first = i % n, length = min_of(n - first, end - i);
    if (!f(from + (place.offset[0] + first * stride) * p.item, length, i)) return;
    i += length;
  }
}

// Elements [begin, end) of the result with this number, which starts at `from`.
void reduce_range(const Problem& p, const char* from, std::int64_t result, std::int64_t begin,
                  std::int64_t end, void* part) {
  const double mean = p.means ? p.means[result] : 0;
  const std::int64_t stride = p.a.reduced_strides[p.a.reduced_ndim - 1];
  p.loops.start(part, 1);
  for_reduced(p, from, begin, end, [&](const char* x, std::int64_t length, std::int64_t) {
    p.loops.stretch(part, x, length, stride, mean);
    return true;
  });
}

// Blocks [first, last) of all results, in parts[result * blocks + block]. Where a result is one contiguous
// row, neighbouring ones are done together.
void reduce_some(const Problem& p, std::int64_t blocks, std::int64_t first, std::int64_t last, char* parts) {
  const std::int64_t size = p.loops.part_size;
  Place<1> place = p.kept(p.a.kept_ndim);
  if (blocks == 1 && p.a.reduced_ndim == 1 && p.a.reduced_strides[0] == 1) {
    const int inner = p.a.kept_ndim - 1;
    for (std::int64_t i = first; i < last;) {
      place.seek(i);
      const std::int64_t count = min_of(last - i, p.a.kept_shape[inner] - place.index[inner]);
      p.loops.rows(parts + i * size, p.at(place.offset[0]), p.terms, count, p.a.kept_strides[inner],
                   p.means ? p.means + i : nullptr);
      i += count;
    }
    return;
  }
  place.seek(first / blocks);
  for (std::int64_t i = first; i < last; ++i) {
    const std::int64_t begin = i % blocks * block;
    reduce_range(p, p.at(place.offset[0]), i / blocks, begin, min_of(begin + block, p.terms),
                 parts + i * size);
    if (i % blocks == blocks - 1) place.next();
  }
}

// f(begin, end) for pieces of all blocks.
template <class F>
void for_blocks(const Problem& p, std::int64_t blocks, F&& f) {
  const std::int64_t together =
      max_of<std::int64_t>(1, grain / max_of<std::int64_t>(min_of(p.terms, block), 1));
  parallel_ranges(p.results * blocks, together, p.results * p.terms, f);
}

void reduce_blocks(const Problem& p, std::int64_t blocks, char* parts) {
  for_blocks(p, blocks,
             [&](std::int64_t first, std::int64_t last) { reduce_some(p, blocks, first, last, parts); });
}

void by_rows(const Problem& p, const Finish& finish) {
  const std::int64_t blocks = max_of<std::int64_t>(1, ceil_div(p.terms, block)), size = p.loops.part_size;
  const Scratch<char> parts(p.results * blocks * size);
  reduce_blocks(p, blocks, parts.data());
  if (blocks == 1) return p.loops.finish(finish, 0, p.results, parts.data());
  for (std::int64_t i = 0; i < p.results; ++i) {
    char* part = parts.data() + i * blocks * size;
    for (std::int64_t b = 1; b < blocks; ++b) p.loops.join(part, part + b * size, 1);
    p.loops.finish(finish, i, 1, part);
  }
}

// How the columns are cut: task = (outer * tiles + tile) * blocks + block.
struct Columns {
  std::int64_t width, tiles, outer, rows, blocks;

  explicit Columns(const Problem& p) {
    width = p.a.kept_shape[p.a.kept_ndim - 1];
    tiles = ceil_div(width, tile);
    outer = count_of(p.a.kept_ndim - 1, p.a.kept_shape);
    // Blocks only where there are too few tiles for many threads.
    rows = outer * tiles >= 64 ? p.terms : max_of<std::int64_t>(64, block / min_of(width, tile));
    blocks = max_of<std::int64_t>(1, ceil_div(p.terms, max_of<std::int64_t>(rows, 1)));
  }
};

// Rows of a narrow matrix without gaps: several make one long row, and its pieces are joined afterwards.
// Returns how many rows it took.
std::int64_t fold_rows(const Problem& p, const char* x, std::int64_t n, std::int64_t rows,
                       const double* means, char* parts) {
  const std::int64_t together = min_of(rows, tile / n);
  if (n > tile / 8 || together < 2) return 0;
  alignas(64) char wide[tile * max_part];
  double repeated[tile];
  p.loops.start(wide, n * together);
  if (means)
    for (std::int64_t j = 0; j < n * together; ++j) repeated[j] = means[j % n];
  const std::int64_t steps = rows / together;
  p.loops.columns(wide, x, n * together, 1, steps, n * together, repeated);
  for (std::int64_t i = 0; i < together; ++i) p.loops.join(parts, wide + i * n * p.loops.part_size, n);
  return steps * together;
}

// parts[j] of the column j < n that starts at x[j * stride], over rows [begin, end).
void reduce_columns(const Problem& p, const char* from, std::int64_t n, std::int64_t begin, std::int64_t end,
                    const double* means, char* parts) {
  const std::int64_t stride = p.a.kept_strides[p.a.kept_ndim - 1];
  const std::int64_t row_stride = p.a.reduced_strides[p.a.reduced_ndim - 1];
  p.loops.start(parts, n);
  for_reduced(p, from, begin, end, [&](const char* x, std::int64_t rows, std::int64_t) {
    std::int64_t done = 0;
    if (stride == 1 && row_stride == n) done = fold_rows(p, x, n, rows, means, parts);
    p.loops.columns(parts, x + done * row_stride * p.item, n, stride, rows - done, row_stride, means);
    return true;
  });
}

void by_columns(const Problem& p, const Finish& finish) {
  const Columns c(p);
  const std::int64_t size = p.loops.part_size, stride = p.a.kept_strides[p.a.kept_ndim - 1];
  const Scratch<char> all(c.blocks > 1 ? p.results * c.blocks * size : 0);
  parallel_tasks(c.outer * c.tiles * c.blocks, p.results * p.terms, [&](std::int64_t task) {
    const std::int64_t b = task % c.blocks, o = task / c.blocks / c.tiles;
    const std::int64_t first = task / c.blocks % c.tiles * tile, n = min_of(tile, c.width - first);
    const std::int64_t result = o * c.width + first;
    Place<1> place = p.kept(p.a.kept_ndim - 1);
    place.seek(o);
    alignas(64) char own[tile * max_part];
    char* parts = c.blocks > 1 ? all.data() + (b * p.results + result) * size : own;
    reduce_columns(p, p.at(place.offset[0] + first * stride), n, b * c.rows,
                   min_of((b + 1) * c.rows, p.terms), p.means ? p.means + result : nullptr, parts);
    if (c.blocks == 1) p.loops.finish(finish, result, n, own);
  });
  if (c.blocks == 1) return;
  for (std::int64_t b = 1; b < c.blocks; ++b)
    p.loops.join(all.data(), all.data() + b * p.results * size, p.results);
  p.loops.finish(finish, 0, p.results, all.data());
}

// Neighbouring results lie side by side and the elements of one do not, or each has so few that joining the
// lanes of a row would cost more than its elements.
bool columns_first(const ReduceArgs& a) {
  const int kept = a.kept_ndim - 1, reduced = a.reduced_ndim - 1;
  if (a.reduced_strides[reduced] != 1) return a.kept_strides[kept] == 1;
  return a.reduced_shape[reduced] < 48 && a.kept_shape[kept] >= 16;
}

void run(const ReduceArgs& a, const Finish& finish, const double* means) {
  const Problem p(a, *find_reduce_loops(a.op, a.dtype, means != nullptr), means);
  if (columns_first(a)) return by_columns(p, finish);
  by_rows(p, finish);
}

void variance(const ReduceArgs& a, const Finish& finish) {
  const Scratch<double> means(count_of(a.kept_ndim, a.kept_shape));
  Finish first = finish;
  first.means = means.data();
  const Problem sums(a, *find_reduce_loops(a.op, a.dtype, false), nullptr);
  const Problem centred(a, *find_reduce_loops(a.op, a.dtype, true), means.data());
  if (!columns_first(a) && sums.terms <= block) {  // both passes while a piece lies in the cache
    const Scratch<double> parts(sums.results);
    for_blocks(sums, 1, [&](std::int64_t begin, std::int64_t end) {
      auto* all = reinterpret_cast<char*>(parts.data());
      reduce_some(sums, 1, begin, end, all);
      sums.loops.finish(first, begin, end - begin, parts.data() + begin);
      reduce_some(centred, 1, begin, end, all);
      centred.loops.finish(finish, begin, end - begin, parts.data() + begin);
    });
    return;
  }
  run(a, first, nullptr);
  run(a, finish, means.data());
}

// The places of results [first, last): the first block with the best of all, then the place in it.
void find_places(const Problem& p, const PositionLoops& loops, std::int64_t blocks, const char* parts,
                 std::int64_t first, std::int64_t last) {
  auto* out = static_cast<std::int64_t*>(p.a.out);
  const std::int64_t stride = p.a.reduced_strides[p.a.reduced_ndim - 1];
  Place<1> place = p.kept(p.a.kept_ndim);
  place.seek(first);
  for (std::int64_t i = first; i < last; ++i, place.next()) {
    const char* of_result = parts + i * blocks * p.item;
    std::int64_t b = 0;
    for (std::int64_t k = 1; k < blocks; ++k)
      if (loops.better(of_result + b * p.item, of_result + k * p.item)) b = k;
    out[i] = 0;
    for_reduced(p, p.at(place.offset[0]), b * block, p.terms,
                [&](const char* x, std::int64_t length, std::int64_t number) {
                  const std::int64_t found = loops.find(of_result + b * p.item, x, length, stride);
                  if (found >= 0) out[i] = number + found;
                  return found < 0;
                });
  }
}

// argmax and argmin by rows: the best of each block, then its place; at once where a result is one block.
void position_by_rows(const Problem& p, const PositionLoops& loops) {
  const std::int64_t blocks = ceil_div(p.terms, block);
  const Scratch<char> parts(p.results * blocks * p.item);
  if (blocks == 1)
    return for_blocks(p, 1, [&](std::int64_t first, std::int64_t last) {
      reduce_some(p, 1, first, last, parts.data());
      find_places(p, loops, 1, parts.data(), first, last);
    });
  reduce_blocks(p, blocks, parts.data());
  parallel_ranges(p.results, 1, p.results * block, [&](std::int64_t first, std::int64_t last) {
    find_places(p, loops, blocks, parts.data(), first, last);
  });
}

void position_by_columns(const Problem& p, const PositionLoops& loops) {
  const Columns c(p);
  const std::int64_t stride = p.a.kept_strides[p.a.kept_ndim - 1];
  const std::int64_t row_stride = p.a.reduced_strides[p.a.reduced_ndim - 1];
  parallel_tasks(c.outer * c.tiles, p.results * p.terms, [&](std::int64_t task) {
    const std::int64_t first = task % c.tiles * tile, n = min_of(tile, c.width - first);
    Place<1> place = p.kept(p.a.kept_ndim - 1);
    place.seek(task / c.tiles);
    const char* from = p.at(place.offset[0] + first * stride);
    auto* out = static_cast<std::int64_t*>(p.a.out) + task / c.tiles * c.width + first;
    alignas(64) char best[tile * max_part];
    p.loops.start(best, n);
    p.loops.columns(best, from, n, stride, 1, 0, nullptr);
    for (std::int64_t j = 0; j < n; ++j) out[j] = 0;
    for_reduced(p, from, 0, p.terms, [&](const char* x, std::int64_t rows, std::int64_t number) {
      loops.columns(best, out, x, n, stride, rows, row_stride, number);
      return true;
    });
  });
}

void position(const ReduceArgs& a) {
  const ReduceOp extreme = a.op == ReduceOp::argmax ? ReduceOp::max : ReduceOp::min;
  const Problem p(a, *find_reduce_loops(extreme, a.dtype, false), nullptr);
  const PositionLoops& loops = *find_position_loops(a.op, a.dtype);
  if (columns_first(a)) return position_by_columns(p, loops);
  position_by_rows(p, loops);
}

}  // namespace

void reduce(Stream&, const ReduceArgs& a) {
  const auto terms = static_cast<double>(count_of(a.reduced_ndim, a.reduced_shape));
  const Finish finish{a.op, a.out, nullptr, terms, terms - a.correction};
  if (a.op == ReduceOp::argmax || a.op == ReduceOp::argmin) return position(a);
  if (a.op == ReduceOp::var) return variance(a, finish);
  run(a, finish, nullptr);
}

}  // namespace weft::cpu::WEFT_ISA
