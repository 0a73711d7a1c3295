// Random numbers and dropout; see ops/random.h. Compiled without contraction (cmake/cuda.cmake): the same
// bits as on the CPU.
//
// A thread takes one Philox block of four words and writes the four elements that they belong to, as one
// store where the array is aligned. The generator's state lies on the device: each launch reads it, and a
// launch of one thread behind it advances the offset, so a replayed graph goes on where it stands.
//
// Ten rounds of Philox are about 60 integer instructions for 4 elements, 16 bytes of floats: of an SM's 64
// lanes, about what its share of the memory takes.
#include <cmath>

#include "core/box_muller.h"
#include "core/philox.h"
#include "cuda/device/math.h"
#include "cuda/device/vec.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

__device__ __forceinline__ float unit(std::uint32_t word, float) { return to_unit_float(word); }
__device__ __forceinline__ double unit(std::uint32_t word, double) { return to_unit_double(word); }

// Each kind makes four values of four words.
template <class T_>
struct Uniform {
  using T = T_;
  T low, width, last;
  __device__ Pack<T, 4> operator()(const Words4& words) const {
    Pack<T, 4> out;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const T value = low + width * unit(words.v[i], T());
      out.v[i] = value > last ? last : value;  // rounding may reach high
    }
    return out;
  }
};

template <class T_>
struct Normal {
  using T = T_;
  T mean, std;
  __device__ Pack<T, 4> operator()(const Words4& words) const {
    Pack<T, 4> out;
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const T radius = math::sqrt(-2 * log_of_unit(unit_not_zero(words.v[i], T())));
      const Turn<T> turn = turn_of(words.v[i + 1], T());
      out.v[i] = mean + std * (radius * turn.cosine);
      out.v[i + 1] = mean + std * (radius * turn.sine);
    }
    return out;
  }
};

template <class T_>
struct Bernoulli {
  using T = T_;
  std::uint64_t limit;
  __device__ Pack<T, 4> operator()(const Words4& words) const {
    Pack<T, 4> out;
#pragma unroll
    for (int i = 0; i < 4; ++i) out.v[i] = static_cast<T>(words.v[i] < limit);
    return out;
  }
};

template <class T_>
struct Randint {
  using T = T_;
  std::int64_t low;
  std::uint64_t range;
  __device__ Pack<T, 4> operator()(const Words4& words) const {
    Pack<T, 4> out;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      out.v[i] = static_cast<T>(low + static_cast<std::int64_t>((words.v[i] * range) >> 32));
    return out;
  }
};

// Elements at .. at + 3 of an array of n; in stores of 16 bytes at most where `aligned` says that they can
// be.
template <class T>
__device__ __forceinline__ void store_four(T* to, const Pack<T, 4>& pack, std::int64_t at, std::int64_t n,
                                           bool aligned) {
  constexpr int wide = per_16_bytes<T> < 4 ? per_16_bytes<T> : 4;
  if (aligned && at + 4 <= n) {
#pragma unroll
    for (int i = 0; i < 4; i += wide) {
      Pack<T, wide> part;
#pragma unroll
      for (int j = 0; j < wide; ++j) part.v[j] = pack.v[i + j];
      store_pack(to + at + i, part);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (at + i < n) to[at + i] = pack.v[i];
  }
}

template <class T>
bool aligned_to_four(const T* p) {
  return aligned(p, sizeof(T) * 4 < 16 ? sizeof(T) * 4 : 16);
}

template <class Draw>
__global__ void __launch_bounds__(block)
    random_kernel(typename Draw::T* out, std::int64_t n, const std::int64_t* state, Draw draw, bool aligned) {
  const auto seed = static_cast<std::uint64_t>(state[0]), first = static_cast<std::uint64_t>(state[1]);
  const std::int64_t blocks = (n + 3) / 4, step = std::int64_t{gridDim.x} * block;
  for (std::int64_t i = std::int64_t{blockIdx.x} * block + threadIdx.x; i < blocks; i += step)
    store_four(out, draw(philox4x32_10(seed, first + static_cast<std::uint64_t>(i))), 4 * i, n, aligned);
}

__global__ void __launch_bounds__(32) advance_kernel(std::int64_t* state, std::int64_t blocks) {
  if (threadIdx.x == 0)
    state[1] =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(state[1]) + static_cast<std::uint64_t>(blocks));
}

void advance(Stream& stream, std::int64_t* state, std::int64_t n) {
  launch_grid<32>(stream, advance_kernel, 1, state, ceil_div(n, 4));
}

template <class Draw>
void fill_by(Stream& stream, const RandomArgs& a, const Draw& draw) {
  auto* const out = static_cast<typename Draw::T*>(a.out);
  launch_over<block>(stream, random_kernel<Draw>, ceil_div(a.n, 4), out, a.n, a.state, draw,
                     aligned_to_four(out));
}

// word < threshold exactly where word / 2^32 < p.
std::uint64_t threshold(double p) { return static_cast<std::uint64_t>(std::ceil(p * 0x1p32)); }

// limit: of the words that keep; null state: by the mask, as backward needs it.
template <class T>
__global__ void __launch_bounds__(block)
    dropout_kernel(T* out, std::uint8_t* mask, const T* x, std::int64_t n, const std::int64_t* state,
                   std::uint64_t limit, T scale, bool aligned) {
  const auto seed = static_cast<std::uint64_t>(state[0]), first = static_cast<std::uint64_t>(state[1]);
  const std::int64_t blocks = (n + 3) / 4, step = std::int64_t{gridDim.x} * block;
  for (std::int64_t i = std::int64_t{blockIdx.x} * block + threadIdx.x; i < blocks; i += step) {
    const Words4 words = philox4x32_10(seed, first + static_cast<std::uint64_t>(i));
    Pack<std::uint8_t, 4> kept;
    Pack<T, 4> y;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      kept.v[j] = words.v[j] < limit;
      y.v[j] = 4 * i + j < n ? x[4 * i + j] * (kept.v[j] ? scale : T(0)) : T(0);
    }
    store_four(mask, kept, 4 * i, n, aligned);
    store_four(out, y, 4 * i, n, aligned);
  }
}

template <class T>
__global__ void __launch_bounds__(block)
    dropout_backward_kernel(T* dx, const std::uint8_t* mask, const T* dout, std::int64_t n, T scale) {
  const std::int64_t step = std::int64_t{gridDim.x} * block;
  for (std::int64_t i = std::int64_t{blockIdx.x} * block + threadIdx.x; i < n; i += step)
    dx[i] = dout[i] * (mask[i] ? scale : T(0));
}

template <class T>
void dropout_of(Stream& stream, const DropoutArgs& a) {
  auto* const out = static_cast<T*>(a.out);
  const auto* x = static_cast<const T*>(a.x);
  const T scale = a.p < 1 ? static_cast<T>(1 / (1 - a.p)) : T(0);
  if (!a.state) {
    launch_over<block>(stream, dropout_backward_kernel<T>, a.n, out, static_cast<const std::uint8_t*>(a.mask),
                       x, a.n, scale);
    return;
  }
  launch_over<block>(stream, dropout_kernel<T>, ceil_div(a.n, 4), out, a.mask, x, a.n,
                     static_cast<const std::int64_t*>(a.state), threshold(1 - a.p), scale,
                     aligned_to_four(out) && aligned_to_four(a.mask));
  advance(stream, a.state, a.n);
}

}  // namespace

void random_fill(Stream& stream, const RandomArgs& a) {
  switch (a.kind) {
    case RandomKind::uniform:
      dispatch_floating(a.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        const T low = static_cast<T>(a.a), high = static_cast<T>(a.b);
        fill_by(stream, a, Uniform<T>{low, high - low, std::nextafter(high, low)});
      });
      break;
    case RandomKind::normal:
      dispatch_floating(a.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        fill_by(stream, a, Normal<T>{static_cast<T>(a.a), static_cast<T>(a.b)});
      });
      break;
    case RandomKind::bernoulli:
      dispatch_builtin(a.dtype, [&](auto type) {
        fill_by(stream, a, Bernoulli<typename decltype(type)::type>{threshold(a.a)});
      });
      break;
    case RandomKind::randint:
      dispatch_builtin(a.dtype, [&](auto type) {
        const auto range = static_cast<std::uint64_t>(a.b - a.a);
        fill_by(stream, a, Randint<typename decltype(type)::type>{static_cast<std::int64_t>(a.a), range});
      });
      break;
  }
  advance(stream, a.state, a.n);
}

void dropout(Stream& stream, const DropoutArgs& a) {
  a.dtype == DType::float32 ? dropout_of<float>(stream, a) : dropout_of<double>(stream, a);
}

}  // namespace weft::cuda
