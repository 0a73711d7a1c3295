// Products with up to eight rows: B is read once, at the memory's speed, and that is the time. Rows of C are
// M of the sums that a thread has in registers.
//
//   dots   B's elements lie along K (B = W^T): a warp has two columns; its lanes go along K, 16 bytes a load,
//          and add their sums in the end
//   rows   B's elements lie along N, or anyhow: a lane has the columns that 16 bytes hold, the eight warps of
//          a block every eighth k; their sums are added through shared memory
//
// A comes from the caches: a warp reads each of its elements for two columns, or for 128. For the 4 N K bytes
// of B at the memory's speed 20 KB an SM must be on their way: so K is cut into parts until there are 16
// warps an SM, of four loads each.
#include "cuda/device/reduce.h"
#include "cuda/device/vec.h"
#include "cuda/gemm_parts.h"
#include "cuda/gemm_products.h"

namespace weft::cuda {

namespace {

constexpr int block = 256, warps = block / warp_size;

// The pieces of a product: `groups` of columns, each in `parts` along K of `length`.
struct Pieces {
  std::int64_t groups, length;
  int parts;
};

// Columns of a warp in dots.
constexpr int pair = 2;

template <int M, int Width, class P>
__global__ void __launch_bounds__(block) dots_kernel(P p, Pieces pieces) {
  using T = typename P::T;
  using In = typename P::In;
  const int lane = threadIdx.x % warp_size;
  const std::int64_t all = p.batch * pieces.groups * pieces.parts, step = std::int64_t{gridDim.x} * warps;
  for (std::int64_t w = std::int64_t{blockIdx.x} * warps + threadIdx.x / warp_size; w < all; w += step) {
    const std::int64_t first = w % pieces.groups * pair, item = w / pieces.groups / pieces.parts;
    const std::int64_t part = w / pieces.groups % pieces.parts;
    const std::int64_t from = part * pieces.length,
                       until = from + pieces.length < p.K ? from + pieces.length : p.K;
    const In* a = p.a + item * p.a_batch;
    const In* b0 = p.b + item * p.b_batch + first * p.b_column;
    // The last column may be alone: it is then read twice.
    const In* b1 = first + 1 < p.N ? b0 + p.b_column : b0;
    T sums[M][pair] = {};
#pragma unroll 2
    for (std::int64_t k = from + lane * Width; k < until; k += warp_size * Width) {
      const auto of_b0 = load_pack<In, Width>(b0 + k), of_b1 = load_pack<In, Width>(b1 + k);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        if (m >= p.M) break;
        Pack<In, Width> of_a;
        if constexpr (Width == 1)
          of_a.v[0] = a[m * p.a_row + k * p.a_column];
        else
          of_a = load_pack<In, Width>(a + m * p.a_row + k);
#pragma unroll
        for (int i = 0; i < Width; ++i) {
          sums[m][0] += static_cast<T>(of_a.v[i]) * static_cast<T>(of_b0.v[i]);
          sums[m][1] += static_cast<T>(of_a.v[i]) * static_cast<T>(of_b1.v[i]);
        }
      }
    }
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < pair; ++c) {
        const T sum = warp_reduce<Sum<T>>(sums[m][c]);
        if (lane == 0 && m < p.M && first + c < p.N) finish(p, part * p.batch + item, m, first + c, sum);
      }
  }
}

template <int M, int Width, class P>
__global__ void __launch_bounds__(block) rows_kernel(P p, Pieces pieces) {
  using T = typename P::T;
  using In = typename P::In;
  constexpr int columns = warp_size * Width;
  SHARED(T, shared, [warps][columns]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const std::int64_t all = p.batch * pieces.groups * pieces.parts;
  for (std::int64_t w = blockIdx.x; w < all; w += gridDim.x) {
    const std::int64_t first = w % pieces.groups * columns, item = w / pieces.groups / pieces.parts;
    const std::int64_t part = w / pieces.groups % pieces.parts, n = first + lane * Width;
    const std::int64_t from = part * pieces.length,
                       until = from + pieces.length < p.K ? from + pieces.length : p.K;
    const In* a = p.a + item * p.a_batch;
    const In* b = p.b + item * p.b_batch + n * p.b_column;
    T sums[M][Width] = {};
    if (n < p.N)
#pragma unroll 4
      for (std::int64_t k = from + warp; k < until; k += warps) {
        const auto of_b = load_pack<In, Width>(b + k * p.b_row);
#pragma unroll
        for (int m = 0; m < M; ++m) {
          if (m >= p.M) break;
          const T of_a = static_cast<T>(a[m * p.a_row + k * p.a_column]);
#pragma unroll
          for (int i = 0; i < Width; ++i) sums[m][i] += of_a * static_cast<T>(of_b.v[i]);
        }
      }
#pragma unroll
    for (int m = 0; m < M; ++m) {
      if (m >= p.M) break;
#pragma unroll
      for (int i = 0; i < Width; ++i) shared[warp][lane * Width + i] = sums[m][i];
      __syncthreads();
      for (int c = threadIdx.x; c < columns; c += block) {
        T sum = shared[0][c];
#pragma unroll
        for (int s = 1; s < warps; ++s) sum += shared[s][c];
        if (first + c < p.N) finish(p, part * p.batch + item, m, first + c, sum);
      }
      __syncthreads();
    }
  }
}

// Writes item `part * batch + n` of C: with several parts C is (parts, batch, M, N).
template <bool Dots, int M, int Width, class P>
void launch_pieces(Stream& stream, const P& p, const Pieces& pieces) {
  const std::int64_t all = p.batch * pieces.groups * pieces.parts, blocks = Dots ? ceil_div(all, warps) : all;
  const std::int64_t threads = blocks * block;
  if constexpr (Dots)
    launch_over<block, 64>(stream, dots_kernel<M, Width, P>, threads, p, pieces);
  else
    launch_over<block, 64>(stream, rows_kernel<M, Width, P>, threads, p, pieces);
}

template <bool Dots, int Width, class P>
void launch_thin(Stream& stream, const P& p, const Pieces& pieces) {
  if (p.M == 1) return launch_pieces<Dots, 1, Width>(stream, p, pieces);
  launch_pieces<Dots, most_thin, Width>(stream, p, pieces);
}

// Whether all starts of rows that are `stride` and `batch` apart can be read 16 bytes at a time.
template <class T>
bool aligned_rows(const T* data, std::int64_t stride, std::int64_t batch) {
  return aligned(data) && stride % per_16_bytes<T> == 0 && batch % per_16_bytes<T> == 0;
}

}  // namespace

template <class In, class Out>
void multiply_thin(Stream& stream, const Product<In, Out>& p) {
  constexpr int wide = per_16_bytes<In>;
  const bool dots = p.b_row == 1 && p.b_column != 1;
  const bool b_vectors = dots ? p.K % wide == 0 && aligned_rows(p.b, p.b_column, p.b_batch)
                              : p.b_column == 1 && p.N % wide == 0 && aligned_rows(p.b, p.b_row, p.b_batch);
  const bool vectors = b_vectors && (!dots || (p.a_column == 1 && aligned_rows(p.a, p.a_row, p.a_batch)));
  const int width = vectors ? wide : 1, along_k = dots ? warp_size * width : warps;
  Pieces pieces{};
  pieces.groups = ceil_div(p.N, dots ? pair : warp_size * width);
  // Warps: 16 an SM; a part is at least four of a warp's steps long.
  const std::int64_t have = p.batch * pieces.groups * (dots ? 1 : warps);
  const std::int64_t wanted = ceil_div(16 * std::int64_t{properties(stream).multiprocessors}, have);
  const std::int64_t most = p.K / (4 * along_k), parts = wanted < most ? wanted : most < 1 ? 1 : most;
  pieces.length = ceil_div(ceil_div(p.K, parts < 256 ? parts : 256), along_k) * along_k;
  pieces.parts = pieces.length == 0 ? 1 : static_cast<int>(ceil_div(p.K, pieces.length));
  multiply_in_parts(stream, p, pieces.parts, [&](const auto& q, int) {
    if (dots)
      return vectors ? launch_thin<true, wide>(stream, q, pieces) : launch_thin<true, 1>(stream, q, pieces);
    vectors ? launch_thin<false, wide>(stream, q, pieces) : launch_thin<false, 1>(stream, q, pieces);
  });
}
template void multiply_thin(Stream&, const Product<float, float>&);
template void multiply_thin(Stream&, const Product<double, double>&);
template void multiply_thin(Stream&, const Product<BFloat16, BFloat16>&);
template void multiply_thin(Stream&, const Product<BFloat16, float>&);

}  // namespace weft::cuda
