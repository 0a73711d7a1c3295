// Reading by index and one-hot codes; see ops/index.h. Adding is in index_add.cu.
//
//   index_select  out[o,i,:] = x[o, index[i], :]      in the widest words (up to 16 bytes) that divide rows
//   gather        out[o,i,j] = x[o, index[o,i,j], j]
//   one_hot       out[i,c] = 1 if index[i] = c else 0
//
// A thread makes several words of the output, a block's width apart. Types matter by their size only. An
// index that is out of range gives zeros (a check has reported it, or will).
//
// Bytes: index_select reads and writes each word once; gather of float32 reads 8 bytes of index and, where
// indices jump, a sector of 32 for each element of 4; one_hot only writes.
#include "cuda/device/divisor.h"
#include "cuda/device/vec.h"
#include "cuda/device/words.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;
constexpr int together = 4;  // words of a thread

// The index counted from the start; n or more where it is out of range.
__device__ __forceinline__ std::int64_t from_start(std::int64_t index, std::int64_t n) {
  if (index < 0) index += n;
  return index < 0 ? n : index;
}

// `inner` in words. D: 32-bit where all numbers of words are below 2^31.
template <class D>
struct SelectShape {
  std::int64_t n;
  D inner, count;
  decltype(D::divisor) total;
};

template <class W, class D>
__global__ void __launch_bounds__(block)
    select_kernel(SelectShape<D> s, W* out, const W* x, const std::int64_t* index) {
  using I = decltype(D::divisor);
  const I first = static_cast<I>(blockIdx.x) * (block * together) + threadIdx.x;
  W word[together] = {};
#pragma unroll
  for (int u = 0; u < together; ++u) {
    const I at = first + u * block;
    if (at >= s.total) continue;
    I j, i;
    const I row = divide(s.inner, at, j), o = divide(s.count, row, i);
    const std::int64_t from = from_start(index[i], s.n);
    if (from < s.n) word[u] = x[(o * s.n + from) * s.inner.divisor + j];
  }
#pragma unroll
  for (int u = 0; u < together; ++u)
    if (first + u * block < s.total) out[first + u * block] = word[u];
}

template <class W, class D>
__global__ void __launch_bounds__(block)
    gather_kernel(SelectShape<D> s, W* out, const W* x, const std::int64_t* index) {
  using I = decltype(D::divisor);
  const I first = static_cast<I>(blockIdx.x) * (block * together) + threadIdx.x;
  std::int64_t from[together];
  W word[together] = {};
#pragma unroll
  for (int u = 0; u < together; ++u)
    from[u] = first + u * block < s.total ? from_start(index[first + u * block], s.n) : s.n;
#pragma unroll
  for (int u = 0; u < together; ++u) {
    I j, i;
    const I row = divide(s.inner, static_cast<I>(first + u * block), j), o = divide(s.count, row, i);
    if (from[u] < s.n) word[u] = x[(o * s.n + from[u]) * s.inner.divisor + j];
  }
#pragma unroll
  for (int u = 0; u < together; ++u)
    if (first + u * block < s.total) out[first + u * block] = word[u];
}

// A thread writes a pack, in which rows may end.
template <class W, class D>
__global__ void __launch_bounds__(block)
    one_hot_kernel(D classes, decltype(D::divisor) total, W one, W* out, const std::int64_t* index) {
  using I = decltype(D::divisor);
  constexpr int V = per_16_bytes<W>;
  const I first = (static_cast<I>(blockIdx.x) * block + threadIdx.x) * V;
  if (first >= total) return;
  I c;
  I i = divide(classes, first, c);
  std::int64_t code = index[i];
  Pack<W, V> pack;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    pack.v[v] = code == static_cast<std::int64_t>(c) ? one : W(0);
    if (++c == classes.divisor && first + v + 1 < total) {
      c = 0;
      code = index[++i];
    }
  }
  if (first + V <= total) return store_pack<W, V>(out + first, pack);
#pragma unroll
  for (int v = 0; v < V; ++v)
    if (first + v < total) out[first + v] = pack.v[v];
}

unsigned blocks_for(std::int64_t threads) { return static_cast<unsigned>(ceil_div(threads, block)); }

template <class W>
void select_words(const Stream& stream, const IndexSelectArgs& a, std::int64_t inner) {
  const std::int64_t total = a.outer * a.count * inner;
  by_range(total + block * together, [&](auto divisor) {
    using D = decltype(divisor);
    const SelectShape<D> s{a.n, D(inner), D(a.count), static_cast<decltype(D::divisor)>(total)};
    launch_grid<block>(stream, select_kernel<W, D>, blocks_for(ceil_div(total, together)), s,
                       static_cast<W*>(a.out), static_cast<const W*>(a.x), a.index);
  });
}

}  // namespace

void index_select(Stream& stream, const IndexSelectArgs& a) {
  const std::int64_t row = a.inner * size_of(a.dtype);  // bytes
  const auto fits = [&](std::int64_t bytes) {
    return row % bytes == 0 && aligned(a.out, static_cast<std::size_t>(bytes)) &&
           aligned(a.x, static_cast<std::size_t>(bytes));
  };
  if (fits(16)) return select_words<Pack<std::uint64_t, 2>>(stream, a, row / 16);
  if (fits(8)) return select_words<std::uint64_t>(stream, a, row / 8);
  if (fits(4)) return select_words<std::uint32_t>(stream, a, row / 4);
  if (fits(2)) return select_words<std::uint16_t>(stream, a, row / 2);
  select_words<std::uint8_t>(stream, a, row);
}

void gather(Stream& stream, const GatherArgs& a) {
  const std::int64_t total = a.outer * a.count * a.inner;
  by_size(a.dtype, [&](auto word) {
    using W = decltype(word);
    by_range(total + block * together, [&](auto divisor) {
      using D = decltype(divisor);
      const SelectShape<D> s{a.n, D(a.inner), D(a.count), static_cast<decltype(D::divisor)>(total)};
      launch_grid<block>(stream, gather_kernel<W, D>, blocks_for(ceil_div(total, together)), s,
                         static_cast<W*>(a.out), static_cast<const W*>(a.x), a.index);
    });
  });
}

void one_hot(Stream& stream, const OneHotArgs& a) {
  std::uint64_t bits = 0;
  dispatch_all(a.dtype, [&](auto type) {
    const auto one = static_cast<typename decltype(type)::type>(1);
    __builtin_memcpy(&bits, &one, sizeof one);
  });
  const std::int64_t total = a.count * a.classes;
  by_size(a.dtype, [&](auto word) {
    using W = decltype(word);
    constexpr int V = per_16_bytes<W>;
    by_range(total + block * V, [&](auto divisor) {
      using D = decltype(divisor);
      launch_grid<block>(stream, one_hot_kernel<W, D>, blocks_for(ceil_div(total, V)), D(a.classes),
                         static_cast<decltype(D::divisor)>(total), static_cast<W>(bits),
                         static_cast<W*>(a.out), a.index);
    });
  });
}

}  // namespace weft::cuda
