// Copies of one dtype, fills and selections: only bytes move, so the kernels know types by their sizes. See
// ops/elementwise.h; casts are in copy_cast.cu.
//
// The nest is in the output's order. Where the input's fast dimension is another one (a transpose, NCHW to
// NHWC), square tiles of both go through shared memory, so that both sides are read and written in whole
// rows; else device/nest.h's loop.
//
// Bytes: each element read and written once.
#include "cuda/copy_cast.h"
#include "cuda/device/nest.h"
#include "cuda/device/words.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

template <class W>
struct Move {
  using Out = W;
  using A = W;
  using B = NoOperand;
  using C = NoOperand;
  static constexpr int inputs = 1, width = per_16_bytes<W>, packs = sizeof(W) == 8 ? 4 : 2;

  template <int E>
  __device__ __forceinline__ void operator()(W (&y)[E], const W (&x)[E], const NoOperand (&)[E],
                                             const NoOperand (&)[E]) const {
#pragma unroll
    for (int i = 0; i < E; ++i) y[i] = x[i];
  }
};

template <class W>
struct Fill {
  using Out = W;
  using A = NoOperand;
  using B = NoOperand;
  using C = NoOperand;
  static constexpr int inputs = 0, width = per_16_bytes<W>, packs = 2;

  W value;

  template <int E>
  __device__ __forceinline__ void operator()(W (&y)[E], const NoOperand (&)[E], const NoOperand (&)[E],
                                             const NoOperand (&)[E]) const {
#pragma unroll
    for (int i = 0; i < E; ++i) y[i] = value;
  }
};

template <class W>
struct Select {
  using Out = W;
  using A = std::uint8_t;
  using B = W;
  using C = W;
  static constexpr int inputs = 3, width = pack_width<W>, packs = 2;

  template <int E>
  __device__ __forceinline__ void operator()(W (&y)[E], const std::uint8_t (&condition)[E], const W (&a)[E],
                                             const W (&b)[E]) const {
#pragma unroll
    for (int i = 0; i < E; ++i) y[i] = condition[i] ? a[i] : b[i];
  }
};

// --- transposition ---

constexpr int transpose_block = 256;

// Numbers of a tile: 4 KiB, of 8-byte words 8. A tile is square, or longer one way where the other dimension
// is short.
template <class W>
constexpr unsigned tile_words = sizeof(W) >= 4 ? 1024 : 4096;
template <class W>
constexpr unsigned tile_side = sizeof(W) >= 4 ? 32 : 64;
constexpr unsigned least_side = 8;
// How many words a bank of 4 bytes holds.
template <class W>
constexpr unsigned in_bank = sizeof(W) < 4 ? 4 / sizeof(W) : 1;

// Tiles of the two fast dimensions, counted along columns, then rows, then the other dimensions.
struct Transposition {
  unsigned rows, columns;             // x is contiguous along rows, out along columns
  std::int64_t out_stride, x_stride;  // from row to row, from column to column
  unsigned tile_rows, tile_columns;   // powers of two
  unsigned pitch;                     // words from a column of a tile to the next, in shared memory
  Divisor column_tiles, row_tiles;
  int outer;  // other dimensions, inner one first
  Divisor size[max_rank];
  std::int64_t out_outer[max_rank], x_outer[max_rank];
};

template <class W>
__global__ void __launch_bounds__(transpose_block) transpose_kernel(Transposition t, W* out, const W* x) {
  constexpr unsigned words = tile_words<W>;
  SHARED(W, tile, [words + words / least_side * in_bank<W>]);
  unsigned column_tile, row_tile;
  unsigned left = divide(t.column_tiles, blockIdx.x, column_tile);
  left = divide(t.row_tiles, left, row_tile);
  for (int d = 0; d < t.outer; ++d) {
    unsigned index;
    left = divide(t.size[d], left, index);
    out += index * t.out_outer[d];
    x += index * t.x_outer[d];
  }
  const unsigned first_row = row_tile * t.tile_rows, first_column = column_tile * t.tile_columns;
  const unsigned row_bits = 31 - static_cast<unsigned>(__clz(static_cast<int>(t.tile_rows)));
  const unsigned column_bits = 31 - static_cast<unsigned>(__clz(static_cast<int>(t.tile_columns)));
#pragma unroll
  for (unsigned i = threadIdx.x; i < words; i += transpose_block) {
    const unsigned r = i & (t.tile_rows - 1), c = i >> row_bits, row = first_row + r,
                   column = first_column + c;
    if (row < t.rows && column < t.columns) tile[c * t.pitch + r] = x[row + column * t.x_stride];
  }
  __syncthreads();
#pragma unroll
  for (unsigned i = threadIdx.x; i < words; i += transpose_block) {
    const unsigned c = i & (t.tile_columns - 1), r = i >> column_bits, row = first_row + r,
                   column = first_column + c;
    if (row < t.rows && column < t.columns) out[row * t.out_stride + column] = tile[c * t.pitch + r];
  }
}

// The smallest power of two from `least_side` on that holds `length`, but at most `most`.
unsigned side_for(unsigned length, unsigned most) {
  unsigned side = least_side;
  while (side < length && side < most) side *= 2;
  return side;
}

// A short dimension has tiles of its own length, the other one longer ones for it. The pitch puts the columns
// that a warp reads at once into different banks of 4 bytes: it takes 32 / columns of them in words of 4
// bytes, at least 1 word.
template <class W>
void shape_tiles(Transposition& t) {
  t.tile_columns = side_for(t.columns, tile_side<W>);
  t.tile_rows = tile_words<W> / t.tile_columns;
  if (t.rows < tile_side<W>) {
    t.tile_rows = side_for(t.rows, tile_side<W>);
    t.tile_columns = tile_words<W> / t.tile_rows;
  }
  const unsigned pad = t.tile_columns >= 32 ? 1 : 32 / t.tile_columns;
  t.pitch = t.tile_rows + pad * in_bank<W>;
  t.column_tiles = Divisor(ceil_div(t.columns, t.tile_columns));
  t.row_tiles = Divisor(ceil_div(t.rows, t.tile_rows));
}

// The dimension along which the input is contiguous, if that is not the inner one and both are long enough
// for tiles to be filled; else -1.
int fast_dimension(const Loop& loop) {
  const int last = loop.ndim - 1;
  const auto &out = loop.strides[0], &x = loop.strides[1];
  if (x[last] == 1 || x[last] == 0 || out[last] != 1 || loop.shape[last] < least_side) return -1;
  for (int d = 0; d < last; ++d)
    if (x[d] == 1 && loop.shape[d] >= least_side) return d;
  return -1;
}

template <class W>
void transpose(const Stream& stream, const Loop& loop, int fast) {
  const int last = loop.ndim - 1;
  Transposition t{};
  t.rows = static_cast<unsigned>(loop.shape[fast]);
  t.columns = static_cast<unsigned>(loop.shape[last]);
  t.out_stride = loop.strides[0][fast];
  t.x_stride = loop.strides[1][last];
  shape_tiles<W>(t);
  unsigned blocks = t.column_tiles.divisor * t.row_tiles.divisor;
  for (int d = last - 1; d >= 0; --d) {
    if (d == fast) continue;
    t.size[t.outer] = Divisor(loop.shape[d]);
    t.out_outer[t.outer] = loop.strides[0][d];
    t.x_outer[t.outer++] = loop.strides[1][d];
    blocks *= static_cast<unsigned>(loop.shape[d]);
  }
  launch_grid<transpose_block>(stream, transpose_kernel<W>, blocks, t, reinterpret_cast<W*>(loop.data[0]),
                               reinterpret_cast<const W*>(loop.data[1]));
}

// One stretch of memory is moved in the widest words, whatever it holds.
bool move_flat(const Stream& stream, const CopyArgs& a) {
  if (a.ndim != 1 || a.out.strides[0] != 1 || a.x.strides[0] != 1) return false;
  const std::int64_t bytes = a.shape[0] * size_of(a.to);
  if (bytes % 8 != 0 || !aligned(a.out.data, 8) || !aligned(a.x.data, 8)) return false;
  map(stream, Move<std::uint64_t>{}, flat_loop(bytes / 8, {a.out.data, a.x.data}));
  return true;
}

}  // namespace

void copy(Stream& stream, const CopyArgs& a) {
  if (a.to != a.from) return copy_cast(stream, a);
  if (move_flat(stream, a)) return;
  by_size(a.to, [&](auto word) {
    using W = decltype(word);
    constexpr int bytes[4] = {sizeof(W), sizeof(W), 1, 1};
    const Loop loop = make_loop(a.ndim, a.shape, {&a.out, &a.x});
    const int fast = fast_dimension(loop);
    if (fast < 0) return map(stream, Move<W>{}, loop);
    for_narrow(loop, bytes, [&](const Loop& piece) { transpose<W>(stream, piece, fast); });
  });
}

void fill(Stream& stream, const FillArgs& a) {
  std::uint64_t bits = 0;  // the value's bytes come first: little-endian, as all of this library's machines
  dispatch_all(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const T value = is_floating(a.dtype) ? static_cast<T>(a.value) : static_cast<T>(a.integer);
    __builtin_memcpy(&bits, &value, sizeof(T));
  });
  by_size(a.dtype, [&](auto word) {
    using W = decltype(word);
    map(stream, Fill<W>{static_cast<W>(bits)}, make_loop(a.ndim, a.shape, {&a.out}));
  });
}

void where(Stream& stream, const WhereArgs& a) {
  by_size(a.dtype, [&](auto word) {
    map(stream, Select<decltype(word)>{}, make_loop(a.ndim, a.shape, {&a.out, &a.condition, &a.a, &a.b}));
  });
}

}  // namespace weft::cuda
