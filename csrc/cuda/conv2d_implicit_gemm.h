// The device side that convolutions as implicit matrix products share: operands gathered from images.
//
// An operand of such a product is an image read at "pixel + tap": the row (or column) of the product stands
// for one of the two, the position along the sum for the other. Either is an Entry; the sum of two tells
// where the number lies and whether it lies in the padding. So no matrix of columns is ever in memory, and an
// element of it costs two additions and two comparisons beside its copy. Entries of the tile's side are
// computed once per block, those along the sum BK at a time, one per thread, while the stage before is
// multiplied; both lie in shared memory.
#pragma once
#include "cuda/device/divisor.h"
#include "cuda/device/tile.h"
#include "cuda/kernels.h"

namespace weft::cuda {

// A number at `offset` of the image, in row h and column w: of a pixel and a tap both, to be added.
struct alignas(16) Entry {
  int offset, h, w;
  int other;  // where the same pixel lies in the product's other operand
};
constexpr int outside = -(1 << 30);  // an h that is outside of the image with any other added
__device__ inline Entry no_entry() { return {0, outside, outside, -1}; }

// An image as a gather sees it.
struct GatherImage {
  const float* data;
  int height, width;
  __device__ __forceinline__ bool holds(const Entry& a, const Entry& b) const {
    return static_cast<unsigned>(a.h + b.h) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(a.w + b.w) < static_cast<unsigned>(width);
  }
};

// Starts the copies of to[k][i] = image[of[i] + along[k]], i < B, k < BK, zeros in the padding. Neighbouring
// threads: neighbouring i, `Width` of which have one entry, the first's, and lie side by side in memory.
template <int B, int BK, int Pitch, int Threads, int Width>
__device__ __forceinline__ void gather_across(float* to, const GatherImage& image, const Entry* of,
                                              const Entry* along) {
  constexpr int groups = B / Width, rows = Threads / groups;
  static_assert(Threads % groups == 0 && BK % rows == 0);
  const int i = threadIdx.x % groups * Width, first = threadIdx.x / groups;
  const Entry a = of[i];
  const float* const from = image.data + a.offset;
#pragma unroll
  for (int r = 0; r < BK / rows; ++r) {
    const int k = first + r * rows;
    const Entry b = along[k];
    cp_async<4 * Width>(to + k * Pitch + i, from + b.offset, image.holds(a, b));
  }
}

// The same; neighbouring threads: neighbouring k, 8 of them, then i.
template <int B, int BK, int Pitch, int Threads>
__device__ __forceinline__ void gather_along(float* to, const GatherImage& image, const Entry* of,
                                             const Entry* along) {
  static_assert(BK % 8 == 0 && B % (Threads / 8) == 0);
  const int first = threadIdx.x % 8;
#pragma unroll
  for (int part = 0; part < BK / 8; ++part) {
    const int k = first + part * 8;
    const Entry b = along[k];
    const float* const from = image.data + b.offset;
#pragma unroll
    for (int r = 0; r < B * 8 / Threads; ++r) {
      const int i = threadIdx.x / 8 + r * (Threads / 8);
      const Entry a = of[i];
      cp_async<4>(to + k * Pitch + i, from + a.offset, image.holds(a, b));
    }
  }
}

// Starts the copies of to[k][i] = from[k pitch + i] for k < rows and i < columns, zeros else; i < B, k < BK.
// columns is a multiple of Width.
template <int B, int BK, int Pitch, int Threads, int Width>
__device__ __forceinline__ void copy_rows(float* to, const float* from, int pitch, int rows, int columns) {
  constexpr int groups = B / Width, step = Threads / groups;
  static_assert(Threads % groups == 0 && BK % step == 0);
  const int i = threadIdx.x % groups * Width, first = threadIdx.x / groups;
#pragma unroll
  for (int r = 0; r < BK / step; ++r) {
    const int k = first + r * step;
    cp_async<4 * Width>(to + k * Pitch + i, from + (k * pitch + i), k < rows && i < columns);
  }
}

// Hands the tile's sums out: use(column, row, sum) of its own column of the tile to each thread, for rows
// first, first + step, ...: neighbouring threads have neighbouring columns.
template <class Tile, class Use>
__device__ __forceinline__ void for_sums_of_column(const float (&acc)[Tile::TM][Tile::TN], float* shared,
                                                   const typename Tile::Place& at, int rows, const Use& use) {
  static_assert(Tile::threads % Tile::BN == 0 && Tile::Slices == 1);
#pragma unroll
  for (int i = 0; i < Tile::TM; ++i)
#pragma unroll
    for (int j = 0; j < Tile::TN; j += 4) {
      const Pack<float, 4> pack{{acc[i][j], acc[i][j + 1], acc[i][j + 2], acc[i][j + 3]}};
      store_pack(shared + (at.m + Tile::row(i)) * Tile::pitch_c + at.n + Tile::column(j), pack);
    }
  __syncthreads();
  const int column = threadIdx.x % Tile::BN;
#pragma unroll 4
  for (int row = threadIdx.x / Tile::BN; row < rows; row += Tile::threads / Tile::BN)
    use(column, row, shared[row * Tile::pitch_c + column]);
}

}  // namespace weft::cuda
