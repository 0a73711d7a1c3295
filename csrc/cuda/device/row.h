// A row of up to Threads K values in the registers of `Threads` neighbouring threads of a block: 16 bytes at
// once where V says so. Thread t holds values (j Threads + t) V + v, v < V, for each j < K / V, so that a
// warp's accesses lie side by side.
#pragma once
#include "cuda/device/reduce.h"
#include "cuda/device/vec.h"

namespace weft::cuda {

constexpr int row_block = 256;  // the threads of a block: one row, or several

template <int Threads_, int K_, int V_>
struct RowShape {
  static constexpr int Threads = Threads_, K = K_, V = V_;
  static constexpr int rows = row_block / Threads;  // of a block
  static_assert(K % V == 0 && row_block % Threads == 0);

  // Where value k of a thread stands in the row.
  __device__ static int place(int k) {
    return (k / V * Threads + static_cast<int>(threadIdx.x % Threads)) * V + k % V;
  }
  // The values that exist; the others keep what they are. With V > 1, n is a multiple of it.
  template <class T>
  __device__ static void load(T (&values)[K], const T* row, int n) {
#pragma unroll
    for (int k = 0; k < K; k += V) {
      if (place(k) >= n) continue;
      const Pack<T, V> pack = load_pack<T, V>(row + place(k));
#pragma unroll
      for (int v = 0; v < V; ++v) values[k + v] = pack.v[v];
    }
  }
  template <class T>
  __device__ static void store(T* row, const T (&values)[K], int n) {
#pragma unroll
    for (int k = 0; k < K; k += V) {
      if (place(k) >= n) continue;
      Pack<T, V> pack;
#pragma unroll
      for (int v = 0; v < V; ++v) pack.v[v] = values[k + v];
      store_pack<T, V>(row + place(k), pack);
    }
  }
  // Every thread gets op over the row. All threads of the block call it.
  template <class Op, class T>
  __device__ static T reduce(T value) {
    if constexpr (Threads > warp_size)
      return block_reduce<Op, Threads>(value);
    else
      return group_reduce<Op>(value, Threads);
  }
};

// Calls f(RowShape{}) with a shape for rows of n values of T; false where they are too long. A thread gets
// `most` values or less, as the registers of its kernel allow; few rows get a block each.
constexpr std::int64_t longest_row = 4096;
template <class T, int V, int most, class F>
bool with_row_shape(std::int64_t rows, std::int64_t n, F&& f) {
  if (n > longest_row) return false;
  if (n <= 32)
    f(RowShape<8, 4, V>{});
  else if (n <= 256)
    f(RowShape<warp_size, 8, V>{});
  else if (n > 1024)
    f(RowShape<row_block, 16, V>{});
  else if (most >= 32 && rows >= 1024)
    f(RowShape < warp_size, most >= 32 ? 32 : 8, V > {});
  else
    f(RowShape<row_block, 4, V>{});
  return true;
}

// The same, with packs of 16 bytes where `packs` allows them: each row starts at a multiple of 16 bytes and
// is one long.
template <class T, int most, class F>
bool with_row_shape_of(std::int64_t rows, std::int64_t n, bool packs, F&& f) {
  if (packs && n % per_16_bytes<T> == 0) return with_row_shape<T, per_16_bytes<T>, most>(rows, n, f);
  return with_row_shape<T, 1, most>(rows, n, f);
}

}  // namespace weft::cuda
