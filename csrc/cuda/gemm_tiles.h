// The tiled matrix product (device/tile.h) on operands of any strides, and its launch. gemm_float32.cu tells
// how its sizes were chosen.
//
// How an operand comes to shared memory, where its rows are [k][m] (B: [k][n]; here m is either one):
//   vector   m's elements are neighbours, aligned to 16 bytes: 16 bytes a copy
//   along_k  k's elements are neighbours: an element a copy, which transposes and needs no alignment. Eight
//            lanes take eight of k, a sector of 32 bytes; a warp does so for four of m
//   along_m  any strides: an element a copy, a warp takes neighbours along m
// Elements outside of the matrix become zeros. bfloat16 is widened on its way, so it is loaded and stored.
#pragma once
#include "cuda/device/tile.h"
#include "cuda/gemm_problem.h"

namespace weft::cuda {

enum class Access { vector, along_k, along_m };

// How a grid covers a product: blocks for each tile of C, for each part of K, for each problem.
struct TileGrid {
  unsigned tiles_m, tiles_n;
  unsigned parts;      // of K; each writes a matrix of its own
  int steps;           // stages of a part
  std::int64_t first;  // problem
  bool direct;         // the sums go to C from the registers: 16 bytes a store, no activation but relu
};

// An operand's part of the stages: Rows by BK.
template <class Tile, int Rows, Access How, class In>
struct Operand {
  using T = typename Tile::T;
  static constexpr int threads = Tile::threads, pitch = Rows + 4;
  static constexpr int width = How == Access::vector ? per_16_bytes<T> : 1;
  static constexpr int count = Rows * Tile::BK / width / threads;  // copies of a thread
  static_assert(count * width * threads == Rows * Tile::BK);
  // A thread's copies differ by step_m in m or by step_k in k. along_k: `beside` warps cover BK.
  static constexpr int across = How == Access::along_k ? 1 : Rows / width, beside = Tile::BK / 8;
  static constexpr int step_m = How == Access::along_k ? threads / (8 * beside) : 0;
  static constexpr int step_k = How == Access::along_k ? 0 : threads / across;
  static_assert(How == Access::along_k ? threads % (32 * beside) == 0 : threads % across == 0);

  const In* from;       // this thread's first element in the next stage
  std::int64_t stride;  // from one of its elements to the next
  int limit;            // rows that exist

  __device__ static __forceinline__ int first_m() {
    const int t = threadIdx.x;
    return How == Access::along_k ? t / 8 % 4 + t / (32 * beside) * 4 : t % across * width;
  }
  __device__ static __forceinline__ int first_k() {
    const int t = threadIdx.x;
    return How == Access::along_k ? t % 8 + t / 32 % beside * 8 : t / across;
  }

  __device__ __forceinline__ Operand(const In* matrix, std::int64_t m_stride, std::int64_t k_stride,
                                     std::int64_t row, std::int64_t rows, std::int64_t k) {
    limit = rows - row < Rows ? static_cast<int>(rows - row) : Rows;
    from = matrix + (row + first_m()) * m_stride + (k + first_k()) * k_stride;
    stride = How == Access::along_k ? step_m * m_stride : step_k * k_stride;
  }

  // Starts the copies of the next stage, of which k_left steps of K exist.
  __device__ __forceinline__ void load(T* shared, int k_left) {
    const int m = first_m(), k = first_k();
    T* const to = shared + k * pitch + m;
    const In* p = from;
#pragma unroll
    for (int e = 0; e < count; ++e, p += stride)
      copy(to + e * (step_k * pitch + step_m), p, m + e * step_m < limit && k + e * step_k < k_left);
    from = How == Access::along_k ? from + Tile::BK : p;
  }

  // f(i) for the place in a stage of each element that this thread copies.
  template <class F>
  __device__ static __forceinline__ void for_each_own(const F& f) {
    const int first = first_k() * pitch + first_m();
#pragma unroll
    for (int e = 0; e < count; ++e)
#pragma unroll
      for (int l = 0; l < width; ++l) f(first + e * (step_k * pitch + step_m) + l);
  }

 private:
  __device__ static __forceinline__ void copy(T* to, const In* from, bool valid) {
    if constexpr (sizeof(In) == sizeof(T))
      cp_async<width * sizeof(T)>(to, from, valid);
    else
      *to = valid ? static_cast<T>(*from) : T(0);
  }
};

// The tile at (m, n) from the registers to C, 16 bytes a store.
template <class Tile, class P>
__device__ __forceinline__ void store_direct(const P& p, typename P::Out* c,
                                             const typename P::T (&acc)[Tile::TM][Tile::TN], std::int64_t m,
                                             std::int64_t n) {
  using T = typename P::T;
  using Out = typename P::Out;
  constexpr int wide = per_16_bytes<Out> < 4 ? per_16_bytes<Out> : 4;
  const bool relu = p.activation == Activation::relu;
#pragma unroll
  for (int i = 0; i < Tile::TM; ++i) {
    const std::int64_t row = m + Tile::row(i);
#pragma unroll
    for (int j = 0; j < Tile::TN; j += wide) {
      const std::int64_t column = n + Tile::column(j);
      if (row >= p.M || column >= p.N) continue;
      Out* const to = c + row * p.c_row + column;
      Pack<Out, wide> pack;
      if (p.beta != 0) pack = load_pack<Out, wide>(to);
#pragma unroll
      for (int l = 0; l < wide; ++l) {
        const T value = before_activation(p, acc[i][j + l], &pack.v[l], row, column + l);
        pack.v[l] = static_cast<Out>(relu && value <= 0 ? T(0) : value);
      }
      store_pack(to, pack);
    }
  }
}

template <class Tile, class P, Access A, Access B>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks) gemm_tile_kernel(P p, TileGrid grid) {
  using T = typename Tile::T;
  using In = typename P::In;
  DYNAMIC_SHARED(T, shared);
  const unsigned tiles = grid.tiles_m * grid.tiles_n, part = blockIdx.x / tiles % grid.parts;
  const TileIndex tile = tile_index(blockIdx.x % tiles, grid.tiles_m, grid.tiles_n);
  const std::int64_t item = grid.first + blockIdx.x / tiles / grid.parts;
  const std::int64_t m = std::int64_t{tile.m} * Tile::BM, n = std::int64_t{tile.n} * Tile::BN;
  const std::int64_t k = std::int64_t{part} * grid.steps * Tile::BK, k_left = p.K - k;
  const std::int64_t steps_left = (k_left + Tile::BK - 1) / Tile::BK;
  const int steps = steps_left < grid.steps ? static_cast<int>(steps_left) : grid.steps;

  Operand<Tile, Tile::BM, A, In> a(p.a + item * p.a_batch, p.a_row, p.a_column, m, p.M, k);
  Operand<Tile, Tile::BN, B, In> b(p.b + item * p.b_batch, p.b_column, p.b_row, n, p.N, k);
  const typename Tile::Place at = Tile::place();
  T acc[Tile::TM][Tile::TN] = {};
  multiply_along<Tile>(acc, shared, steps, at, [&](T* stage, int step) {
    const std::int64_t left = k_left - std::int64_t{step} * Tile::BK;
    const int some = left < Tile::BK ? static_cast<int>(left) : Tile::BK;
    a.load(stage, some);
    b.load(stage + Tile::stage_a, some);
  });

  typename P::Out* const c = p.c + (part * p.batch + item) * p.c_batch;
  if constexpr (Tile::Slices == 1)
    if (grid.direct) {
      store_direct<Tile>(p, c, acc, m + at.m, n + at.n);
      return;
    }
  const std::int64_t rows = p.M - m, columns = p.N - n;
  for_each_sum<Tile>(acc, shared, at, static_cast<int>(rows < Tile::BM ? rows : Tile::BM),
                     static_cast<int>(columns < Tile::BN ? columns : Tile::BN), [&](int i, int j, T sum) {
                       typename P::Out* const to = c + (m + i) * p.c_row + (n + j) * p.c_column;
                       const T value = before_activation(p, sum, to, m + i, n + j);
                       *to = static_cast<typename P::Out>(activate(p.activation, value, p.activation_alpha));
                     });
}

template <class T>
Access access_of(const T* data, std::int64_t rows, std::int64_t m_stride, std::int64_t k_stride,
                 std::int64_t batch) {
  return in_vectors(data, rows, m_stride, k_stride, batch) ? Access::vector
         : k_stride == 1                                   ? Access::along_k
                                                           : Access::along_m;
}

// f(Value<How>) for the ways that are compiled.
template <Access How>
struct Value {
  static constexpr Access value = How;
};
template <bool Vectors, class F>
void dispatch_access(Access how, F&& f) {
  if (how == Access::along_k) return f(Value<Access::along_k>{});
  if constexpr (Vectors)
    if (how == Access::vector) return f(Value<Access::vector>{});
  f(Value<Access::along_m>{});
}

template <class Tile, class P, Access A, Access B>
void launch_tiles(Stream& stream, const P& p, TileGrid grid) {
  const auto kernel = &gemm_tile_kernel<Tile, P, A, B>;
  allow_shared(kernel, Tile::shared_bytes);
  for_each_launch(std::int64_t{grid.tiles_m} * grid.tiles_n * grid.parts, p.batch,
                  [&](std::int64_t first, unsigned blocks) {
                    grid.first = first;
                    launch(kernel, dim3(blocks), dim3(Tile::threads), Tile::shared_bytes, handle(stream), p,
                           grid);
                  });
}

// parts: of K. Where there are several, C is an array of partial sums: (parts, batch, M, N). Vectors: whether
// the kernels that copy 16 bytes at a time are compiled.
template <class Tile, bool Vectors, class P>
void multiply_tiles(Stream& stream, const P& p, int parts) {
  TileGrid grid{};
  grid.tiles_m = static_cast<unsigned>(ceil_div(p.M, Tile::BM));
  grid.tiles_n = static_cast<unsigned>(ceil_div(p.N, Tile::BN));
  grid.parts = static_cast<unsigned>(parts);
  grid.steps = static_cast<int>(ceil_div(ceil_div(p.K, Tile::BK), parts));
  grid.direct = (p.activation == Activation::none || p.activation == Activation::relu) &&
                in_vectors(p.c, p.N, p.c_column, p.c_row, p.c_batch);
  const Access a = access_of(p.a, p.M, p.a_row, p.a_column, p.a_batch);
  const Access b = access_of(p.b, p.N, p.b_column, p.b_row, p.b_batch);
  dispatch_access<Vectors>(a, [&](auto of_a) {
    dispatch_access<Vectors>(b, [&](auto of_b) {
      launch_tiles<Tile, P, decltype(of_a)::value, decltype(of_b)::value>(stream, p, grid);
    });
  });
}

}  // namespace weft::cuda
