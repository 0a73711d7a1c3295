// One function for each element of strided operands: the loop that all elementwise kernels share.
//
//   out[i] = f(a[i], b[i], c[i])      any strides, `out` may be one of the operands
//
// A thread takes `packs` packs of `width` neighbours along the inner dimension. A pack is one access of 16
// bytes (8 where that makes too many elements) where the output is contiguous there, each operand is or is
// broadcast, and all rows begin at such an address; then two or more loads of each operand are under way at
// once. Other layouts take packs of one element: a warp's accesses still join wherever the inner stride is 1,
// so that they only cost instructions, about 10 for each dimension beyond the first. Offsets are 32-bit: a
// larger problem is cut in two along the dimension that reaches farthest, again and again.
//
// Bytes: each operand once.
//
// A function is a struct that goes to the kernel by value:
//
//   using Out, A, B, C;               types of the elements in memory; NoOperand beyond `inputs`
//   static constexpr int inputs;      0 to 3
//   static constexpr int width;       elements of a pack
//   static constexpr int packs;       of a thread
//   template <int E> operator()(Out (&y)[E], const A (&a)[E], const B (&b)[E], const C (&c)[E]) const;
#pragma once
#include "cuda/device/divisor.h"
#include "cuda/device/vec.h"
#include "cuda/kernels.h"
#include "ops/elementwise.h"

namespace weft::cuda {

struct NoOperand {};

// The host's view: operand 0 is the output. Strides in elements; those of missing operands are 0.
struct Loop {
  int ndim;
  std::int64_t shape[max_rank];
  char* data[4];
  std::int64_t strides[4][max_rank];
};

inline Loop make_loop(int ndim, const std::int64_t* shape, std::initializer_list<const Strided*> operands) {
  Loop loop{};
  loop.ndim = ndim;
  for (int d = 0; d < ndim; ++d) loop.shape[d] = shape[d];
  int k = 0;
  for (const Strided* operand : operands) {
    loop.data[k] = static_cast<char*>(operand->data);
    for (int d = 0; d < ndim; ++d) loop.strides[k][d] = operand->strides[d];
    ++k;
  }
  return loop;
}

// n contiguous elements of each operand.
inline Loop flat_loop(std::int64_t n, std::initializer_list<const void*> operands) {
  Loop loop{};
  loop.ndim = 1;
  loop.shape[0] = n;
  int k = 0;
  for (const void* operand : operands) {
    loop.data[k] = static_cast<char*>(const_cast<void*>(operand));
    loop.strides[k++][0] = 1;
  }
  return loop;
}

// The kernel's view: axis 0 is the inner one, counted in packs.
struct Axis {
  Divisor size;
  int strides[4];  // elements from pack to pack
};
struct Nest {
  int ndim;
  unsigned packs;  // of all axes
  unsigned splat;  // bit k: operand k is broadcast along the inner axis
  int rest;        // elements of the very last pack
  Axis axis[max_rank];
};

// The offsets of `Count` operands at packs first, first + step, ... A loop that is not unrolled, so that a
// kernel is small; what it reads of an axis serves all packs of a thread. Modulo 2^32, since packs beyond the
// last may have any.
template <int Count, int U>
__device__ __forceinline__ void offsets(const Nest& nest, unsigned first, unsigned step,
                                        unsigned (&at)[U][4]) {
  unsigned left[U];
#pragma unroll
  for (int u = 0; u < U; ++u) {
    left[u] = first + static_cast<unsigned>(u) * step;
#pragma unroll
    for (int k = 0; k < Count; ++k) at[u][k] = 0;
  }
  const int last = nest.ndim - 1;
#pragma unroll 1
  for (int d = 0; d < last; ++d) {
    const Axis axis = nest.axis[d];
#pragma unroll
    for (int u = 0; u < U; ++u) {
      unsigned index;
      left[u] = divide(axis.size, left[u], index);
#pragma unroll
      for (int k = 0; k < Count; ++k) at[u][k] += index * static_cast<unsigned>(axis.strides[k]);
    }
  }
#pragma unroll
  for (int u = 0; u < U; ++u)
#pragma unroll
    for (int k = 0; k < Count; ++k) at[u][k] += left[u] * static_cast<unsigned>(nest.axis[last].strides[k]);
}

// x[j] = the elements of a pack, of which `count` exist.
template <int V, class T>
__device__ __forceinline__ void load_some(T* x, const T* from, bool splat, int count) {
  if constexpr (V == 1) {
    x[0] = *from;
  } else if (splat) {
    const T value = *from;
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = value;
  } else if (count == V) {
    const Pack<T, V> pack = load_pack<T, V>(from);
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = pack.v[j];
  } else {
#pragma unroll
    for (int j = 0; j < V; ++j)
      if (j < count) x[j] = from[j];
  }
}

template <int V, class T>
__device__ __forceinline__ void store_some(T* to, const T* y, int count) {
  if constexpr (V == 1) {
    *to = y[0];
  } else if (count == V) {
    Pack<T, V> pack;
#pragma unroll
    for (int j = 0; j < V; ++j) pack.v[j] = y[j];
    store_pack<T, V>(to, pack);
  } else {
#pragma unroll
    for (int j = 0; j < V; ++j)
      if (j < count) to[j] = y[j];
  }
}

constexpr int map_block = 128;

template <class F, int V, int U>
__global__ void __launch_bounds__(map_block)
    map_kernel(F f, Nest nest, typename F::Out* out, const typename F::A* a, const typename F::B* b,
               const typename F::C* c) {
  constexpr int E = V * U;
  typename F::A x[E] = {};
  typename F::B y[E] = {};
  typename F::C z[E] = {};
  typename F::Out result[E];
  const unsigned first = blockIdx.x * static_cast<unsigned>(map_block * U) + threadIdx.x;
  unsigned at[U][4];
  offsets<1 + F::inputs>(nest, first, map_block, at);
#pragma unroll
  for (int u = 0; u < U; ++u) {
    const unsigned p = first + static_cast<unsigned>(u * map_block);
    if (p >= nest.packs) continue;
    const int count = p + 1 == nest.packs ? nest.rest : V;
    if constexpr (F::inputs > 0)
      load_some<V>(x + u * V, a + static_cast<int>(at[u][1]), nest.splat >> 1 & 1, count);
    if constexpr (F::inputs > 1)
      load_some<V>(y + u * V, b + static_cast<int>(at[u][2]), nest.splat >> 2 & 1, count);
    if constexpr (F::inputs > 2)
      load_some<V>(z + u * V, c + static_cast<int>(at[u][3]), nest.splat >> 3 & 1, count);
  }
  f(result, x, y, z);
#pragma unroll
  for (int u = 0; u < U; ++u) {
    const unsigned p = first + static_cast<unsigned>(u * map_block);
    if (p < nest.packs)
      store_some<V>(out + static_cast<int>(at[u][0]), result + u * V, p + 1 == nest.packs ? nest.rest : V);
  }
}

// The widest pack of T that a function of many steps takes: its elements stay in registers.
template <class T>
constexpr int pack_width = sizeof(T) == 1 ? 8 : per_16_bytes<T>;

// --- host ---

inline std::int64_t elements(const Loop& loop) {
  std::int64_t n = 1;
  for (int d = 0; d < loop.ndim; ++d) n *= loop.shape[d];
  return n;
}

// Whether all indices and offsets have 31 bits.
inline bool is_narrow(const Loop& loop) {
  if (elements(loop) >= narrow_limit) return false;
  for (const auto& strides : loop.strides) {
    std::int64_t reach = 0;
    for (int d = 0; d < loop.ndim; ++d)
      reach += (loop.shape[d] - 1) * (strides[d] < 0 ? -strides[d] : strides[d]);
    if (reach >= narrow_limit) return false;
  }
  return true;
}

// run(loop) for pieces of a loop that are narrow. `bytes`: of an element of each operand.
template <class Run>
void for_narrow(const Loop& loop, const int (&bytes)[4], Run&& run) {
  if (is_narrow(loop)) return run(loop);
  int widest = 0;
  std::int64_t most = 0;
  for (const auto& strides : loop.strides)
    for (int d = 0; d < loop.ndim; ++d) {
      const std::int64_t reach = (loop.shape[d] - 1) * (strides[d] < 0 ? -strides[d] : strides[d]);
      if (reach > most) most = reach, widest = d;
    }
  Loop lower = loop, upper = loop;
  lower.shape[widest] = loop.shape[widest] / 2;
  upper.shape[widest] -= lower.shape[widest];
  for (int k = 0; k < 4; ++k) upper.data[k] += lower.shape[widest] * loop.strides[k][widest] * bytes[k];
  for_narrow(lower, bytes, run);
  for_narrow(upper, bytes, run);
}

// Whether packs of V fit; see the head.
template <int V>
bool takes_packs(const Loop& loop, const int (&bytes)[4], int operands) {
  const int inner = loop.ndim - 1;
  if (loop.strides[0][inner] != 1) return false;
  if (loop.ndim > 1 && loop.shape[inner] % V != 0) return false;
  for (int k = 0; k < operands; ++k) {
    const auto& strides = loop.strides[k];
    if (k > 0 && strides[inner] == 0) continue;
    if (strides[inner] != 1 || !aligned(loop.data[k], static_cast<std::size_t>(V * bytes[k]))) return false;
    for (int d = 0; d < inner; ++d)
      if (strides[d] % V != 0) return false;
  }
  return true;
}

template <int V>
Nest make_nest(const Loop& loop) {
  Nest nest{};
  const int inner = loop.ndim - 1;
  const std::int64_t row = ceil_div(loop.shape[inner], V);
  nest.ndim = loop.ndim;
  nest.packs = static_cast<unsigned>(elements(loop) / loop.shape[inner] * row);
  nest.rest = static_cast<int>(loop.shape[inner] - (row - 1) * V);
  for (int d = 0; d < loop.ndim; ++d) {
    const std::int64_t size = loop.shape[inner - d];
    nest.axis[d].size = Divisor(d == 0 ? row : size);
    for (int k = 0; k < 4; ++k) {
      const std::int64_t stride = size == 1 ? 0 : loop.strides[k][inner - d];  // a single one may have any
      nest.axis[d].strides[k] = static_cast<int>(d == 0 ? stride * V : stride);
    }
  }
  for (int k = 0; k < 4; ++k)
    if (loop.strides[k][inner] == 0) nest.splat |= 1u << k;
  return nest;
}

template <class F, int V, int U>
void launch_map(const Stream& stream, const F& f, const Loop& loop) {
  const Nest nest = make_nest<V>(loop);
  launch_grid<map_block>(stream, map_kernel<F, V, U>, ceil_div(nest.packs, map_block * U), f, nest,
                         reinterpret_cast<typename F::Out*>(loop.data[0]),
                         reinterpret_cast<const typename F::A*>(loop.data[1]),
                         reinterpret_cast<const typename F::B*>(loop.data[2]),
                         reinterpret_cast<const typename F::C*>(loop.data[3]));
}

// The policy: packs where they fit, else elements.
template <class F>
void map(const Stream& stream, const F& f, const Loop& whole) {
  constexpr int bytes[4] = {sizeof(typename F::Out), sizeof(typename F::A), sizeof(typename F::B),
                            sizeof(typename F::C)};
  if (elements(whole) == 0) return;
  for_narrow(whole, bytes, [&](const Loop& loop) {
    if (takes_packs<F::width>(loop, bytes, 1 + F::inputs))
      launch_map<F, F::width, F::packs>(stream, f, loop);
    else
      launch_map<F, 1, 4>(stream, f, loop);
  });
}

}  // namespace weft::cuda
