// Adding by index; see ops/index.h. The sums are made in the order of i, as on the CPU, so without atomics.
//
//   index_add    out[o, index[i], j] += x[o,i,j]
//   scatter_add  out[o, index[o,i,j], j] += x[o,i,j]
//
// Two ways:
//   columns   a thread for each (o, j) goes through i. Enough work for the device where there are many
//             columns, and quick where there are few indices; takes any problem.
//   segments  the elements are sorted by where they go to (sort.cu, stable); the first of each run of equal
//             ones sums up the run, for each column.
// An index that is out of range is passed over (a check has reported it, or will).
//
// Bytes: x and index once, what is touched of out read and written once (columns: once for each i). An
// embedding's gradient of 8192 rows of 256 floats, 8 MB, takes less than the launches of the sort's 2 passes.
#include "cuda/device/divisor.h"
#include "cuda/device/words.h"
#include "cuda/kernels.h"
#include "cuda/sort.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

// The index counted from the start; n where it is out of range.
__device__ __forceinline__ std::int64_t from_start(std::int64_t index, std::int64_t n) {
  if (index < 0) index += n;
  return index >= 0 && index < n ? index : n;
}

struct AddShape {
  std::int64_t outer, n, inner, count;
};

// --- columns ---

constexpr int ahead = 4;  // elements whose loads are under way at once

// Each: there is an index for each element, else for each i.
template <class T, bool Each>
__global__ void __launch_bounds__(block)
    add_columns_kernel(AddShape s, T* out, const T* x, const std::int64_t* index) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * block + threadIdx.x;
  if (column >= s.outer * s.inner) return;
  const std::int64_t o = column / s.inner, j = column - o * s.inner;
  out += o * s.n * s.inner + j;
  x += o * s.count * s.inner + j;
  if constexpr (Each) index += o * s.count * s.inner + j;
  const std::int64_t index_step = Each ? s.inner : 1;
  for (std::int64_t first = 0; first < s.count; first += ahead) {
    std::int64_t to[ahead];
    T value[ahead];
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      const bool there = first + u < s.count;
      to[u] = there ? from_start(index[(first + u) * index_step], s.n) : s.n;
      value[u] = there ? x[(first + u) * s.inner] : T(0);
    }
#pragma unroll
    for (int u = 0; u < ahead; ++u)
      if (to[u] < s.n) out[to[u] * s.inner] = static_cast<T>(out[to[u] * s.inner] + value[u]);
  }
}

// --- segments ---

// The place in out that an element goes to, seen as (places, columns); `places` where its index is out of
// range.
template <bool Each>
__global__ void __launch_bounds__(block)
    keys_kernel(AddShape s, unsigned elements, unsigned places, const std::int64_t* index, unsigned* keys) {
  const unsigned at = blockIdx.x * block + threadIdx.x;
  if (at >= elements) return;
  const std::int64_t to = from_start(index[at], s.n);
  std::int64_t key = to;
  if constexpr (Each) {
    const std::int64_t row = at / s.inner, j = at - row * s.inner, o = row / s.count;
    key = (o * s.n + to) * s.inner + j;
  }
  keys[at] = to < s.n ? static_cast<unsigned>(key) : places;
}

// Thread (p, c) sums up the run that begins at p, for column c.
template <class T, class D>
__global__ void __launch_bounds__(block)
    add_segments_kernel(AddShape s, D columns, D inner, unsigned elements, unsigned places,
                        const unsigned* keys, const unsigned* positions, T* out, const T* x) {
  using I = decltype(D::divisor);
  constexpr unsigned batch = 8;  // loads under way at once
  I c, j;
  const I row = divide(columns, static_cast<I>(blockIdx.x) * block + threadIdx.x, c);
  if (row >= elements) return;
  const auto p = static_cast<unsigned>(row);
  const unsigned key = keys[p];
  if (key == places || (p > 0 && keys[p - 1] == key)) return;
  const std::int64_t o = divide(inner, c, j);
  T* const to = out + (o * s.n + key) * s.inner + j;
  const T* const from = x + o * s.count * s.inner + j;
  T sum = *to;
  for (unsigned first = p;; first += batch) {
    bool ours[batch];
    T value[batch];
#pragma unroll
    for (unsigned u = 0; u < batch; ++u) {
      ours[u] = first + u < elements && keys[first + u] == key;
      value[u] = ours[u] ? from[positions[first + u] * s.inner] : T(0);
    }
#pragma unroll
    for (unsigned u = 0; u < batch; ++u)
      if (ours[u]) sum = static_cast<T>(sum + value[u]);
    if (!ours[batch - 1]) break;
  }
  *to = sum;
}

// f(number of this type), unsigned for whole numbers: these wrap around.
template <class F>
void by_sum_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(float{});
    case DType::float64: return f(double{});
    case DType::int64: return f(std::uint64_t{});
    case DType::int32: return f(std::uint32_t{});
    default: return f(std::uint8_t{});
  }
}

template <bool Each, class Args>
void add_columns(const Stream& stream, const Args& a) {
  by_sum_type(a.dtype, [&](auto number) {
    using T = decltype(number);
    launch_grid<block>(stream, add_columns_kernel<T, Each>,
                       static_cast<unsigned>(ceil_div(a.outer * a.inner, block)),
                       AddShape{a.outer, a.n, a.inner, a.count}, static_cast<T*>(a.out),
                       static_cast<const T*>(a.x), a.index);
  });
}

int bits_of(std::int64_t number) {
  int bits = 0;
  for (; number > 0; number >>= 1) ++bits;
  return bits;
}

// To the kernel scatter_add is an index_add of single numbers: the key says all.
template <bool Each, class Args>
bool add_segments(const Stream& stream, const Args& a) {
  constexpr std::int64_t few = 32, many = 65536;
  const std::int64_t columns = a.outer * a.inner;
  const std::int64_t elements = Each ? columns * a.count : a.count, places = Each ? columns * a.n : a.n;
  if (a.count <= few || columns >= many || elements >= narrow_limit || places >= narrow_limit) return false;
  const auto count = static_cast<unsigned>(elements), limit = static_cast<unsigned>(places);
  const AddShape s{a.outer, a.n, a.inner, a.count};
  const AddShape run = Each ? AddShape{1, places, 1, elements} : s;
  const Workspace workspace(stream, (count + sort_words(count)) * sizeof(unsigned));
  auto* const keys = workspace.data<unsigned>();
  launch_grid<block>(stream, keys_kernel<Each>, ceil_div(count, block), s, count, limit, a.index, keys);
  const SortedKeys sorted = sort_keys(stream, keys, count, bits_of(places), keys + count);
  const std::int64_t threads = elements * run.outer * run.inner;
  by_sum_type(a.dtype, [&](auto number) {
    using T = decltype(number);
    by_range(threads + block, [&](auto divisor) {
      using D = decltype(divisor);
      launch_grid<block>(stream, add_segments_kernel<T, D>, static_cast<unsigned>(ceil_div(threads, block)),
                         run, D(run.outer * run.inner), D(run.inner), count, limit, sorted.keys,
                         sorted.positions, static_cast<T*>(a.out), static_cast<const T*>(a.x));
    });
  });
  return true;
}

}  // namespace

void index_add(Stream& stream, const IndexSelectArgs& a) {
  if (add_segments<false>(stream, a)) return;
  add_columns<false>(stream, a);
}

void scatter_add(Stream& stream, const GatherArgs& a) {
  if (add_segments<true>(stream, a)) return;
  add_columns<true>(stream, a);
}

}  // namespace weft::cuda
