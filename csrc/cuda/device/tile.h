// The pieces of a tiled product C[M,N] = A[M,K] B[K,N]: what matrix products and implicit-GEMM convolutions
// share.
//
// A block computes BM x BN sums. Along K it goes in steps of BK: such a stage of A and of B is copied to
// shared memory, each as [k][m] and [k][n], while the stages before are multiplied (multiply_along). A warp
// has 8 x 4 lanes, a lane TM x TN sums in registers; for one k it reads TM + TN numbers by 16-byte loads and
// does TM TN multiply-adds.
//
// Why it is fast, in float with TM = TN = 8: 64 FFMA for 4 loads of 16 bytes, so 94% of the issued
// instructions are multiply-adds. Lanes l and l ^ 1 read the same part of A, l and l ^ 2 the same of B, so
// that a load takes 2 passes of the 32 banks instead of 4: 4 warps need 4 x 4 x 2 = 32 passes while their
// FFMA take 64 cycles. Rows in shared memory are 16 bytes longer than needed: words of eight k and four m,
// written by one warp, lie in 32 banks.
//
// Where C is small, `Slices` groups of warps share the tile: each takes its part of every stage, and their
// sums are added in the end, in the order of the slices.
#pragma once
#include "cuda/device/vec.h"

namespace weft::cuda {

template <class T_, int BM_, int BN_, int BK_, int WarpsM_, int WarpsN_, int Slices_ = 1, int Stages_ = 4,
          int Blocks_ = 2>
struct Tile {
  using T = T_;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, WarpsM = WarpsM_, WarpsN = WarpsN_;
  static constexpr int Slices = Slices_, Stages = Stages_;
  static constexpr int blocks = Blocks_;                     // on an SM at the same time
  static constexpr int lanes_m = 8, lanes_n = 4, width = 4;  // width: neighbours of a lane
  static constexpr int TM = BM / (WarpsM * lanes_m), TN = BN / (WarpsN * lanes_n);
  static constexpr int threads = 32 * WarpsM * WarpsN * Slices;
  static constexpr int pitch_a = BM + 4, pitch_b = BN + 4, pitch_c = BN + 4;
  static constexpr int stage_a = BK * pitch_a, stage = BK * (pitch_a + pitch_b);  // elements
  // Bytes of shared memory: the ring of stages, and afterwards the sums.
  static constexpr int ring = Stages * stage, sums = Slices * BM * pitch_c;
  static constexpr std::size_t shared_bytes = sizeof(T) * (ring > sums ? ring : sums);
  static_assert(TM % width == 0 && TN % width == 0 && BK % Slices == 0 && Stages >= 2);
  static_assert(BM == WarpsM * lanes_m * TM && BN == WarpsN * lanes_n * TN);

  // This thread's sums: acc[i][j] is that of row m + row(i), column n + column(j) of the tile.
  struct Place {
    int m, n, slice;
  };
  __device__ static __forceinline__ Place place() {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int lane_m = lane / 2 % 8, lane_n = lane % 2 + lane / 16 * 2;
    return {warp % WarpsM * (lanes_m * TM) + lane_m * width,
            warp / WarpsM % WarpsN * (lanes_n * TN) + lane_n * width, warp / (WarpsM * WarpsN)};
  }
  __device__ static constexpr int row(int i) { return i / width * (lanes_m * width) + i % width; }
  __device__ static constexpr int column(int j) { return j / width * (lanes_n * width) + j % width; }
};

// `Count` numbers in groups of four, `step` apart, by loads of 16 bytes.
template <int Count, class T>
__device__ __forceinline__ void load_groups(T (&to)[Count], const T* from, int step) {
  constexpr int wide = per_16_bytes<T>;
#pragma unroll
  for (int g = 0; g < Count / 4; ++g)
#pragma unroll
    for (int part = 0; part < 4; part += wide) {
      const Pack<T, wide> pack = load_pack<T, wide>(from + g * step + part);
#pragma unroll
      for (int i = 0; i < wide; ++i) to[4 * g + part + i] = pack.v[i];
    }
}

// acc += the products of one stage. The numbers of the next k are on their way while those of this k are
// multiplied.
template <class Tile>
__device__ __forceinline__ void multiply_stage(typename Tile::T (&acc)[Tile::TM][Tile::TN],
                                               const typename Tile::T* stage,
                                               const typename Tile::Place& at) {
  using T = typename Tile::T;
  constexpr int steps = Tile::BK / Tile::Slices, group_m = Tile::lanes_m * Tile::width,
                group_n = Tile::lanes_n * Tile::width;
  const T* a = stage + at.slice * steps * Tile::pitch_a + at.m;
  const T* b = stage + Tile::stage_a + at.slice * steps * Tile::pitch_b + at.n;
  T of_a[2][Tile::TM], of_b[2][Tile::TN];
  load_groups(of_a[0], a, group_m);
  load_groups(of_b[0], b, group_n);
#pragma unroll
  for (int k = 0; k < steps; ++k) {
    if (k + 1 < steps) {
      load_groups(of_a[(k + 1) % 2], a + (k + 1) * Tile::pitch_a, group_m);
      load_groups(of_b[(k + 1) % 2], b + (k + 1) * Tile::pitch_b, group_n);
    }
#pragma unroll
    for (int i = 0; i < Tile::TM; ++i)
#pragma unroll
      for (int j = 0; j < Tile::TN; ++j) acc[i][j] += of_a[k % 2][i] * of_b[k % 2][j];
  }
}

struct NothingToDo {
  __device__ __forceinline__ void operator()(int) const {}
};

// A loop over stages that come by asynchronous copies through a ring of `Stages` places. load(place, step)
// starts the copies of one stage, or writes there itself; use(place) reads it. One barrier a stage: behind it
// the copies of this stage have arrived for all threads, and nobody reads the stage before any more, whose
// place the next copies take. Before it, arrived(place) may change what this thread itself copied. Ends with
// a barrier: the ring is free.
template <int Stages, class Load, class Use, class Arrived = NothingToDo>
__device__ __forceinline__ void for_each_stage(int steps, const Load& load, const Use& use,
                                               const Arrived& arrived = {}) {
  constexpr int ahead = Stages - 1;
#pragma unroll
  for (int s = 0; s < ahead; ++s) {
    if (s < steps) load(s, s);
    cp_async_commit();
  }
  int now = 0, next = ahead;  // places in the ring
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<ahead - 1>();
    arrived(now);
    __syncthreads();
    if (step + ahead < steps) load(next, step + ahead);
    cp_async_commit();
    use(now);
    now = now + 1 == Stages ? 0 : now + 1;
    next = next + 1 == Stages ? 0 : next + 1;
  }
  __syncthreads();
}

// acc += the products of `steps` stages. load(to, step) brings one stage (for_each_stage): A's [BK][pitch_a]
// to `to`, B's [BK][pitch_b] to `to + stage_a`; all that lies outside of the problem must become 0.
template <class Tile, class Load>
__device__ __forceinline__ void multiply_along(typename Tile::T (&acc)[Tile::TM][Tile::TN],
                                               typename Tile::T* ring, int steps,
                                               const typename Tile::Place& at, const Load& load) {
  for_each_stage<Tile::Stages>(
      steps, [&](int place, int step) { load(ring + place * Tile::stage, step); },
      [&](int place) { multiply_stage<Tile>(acc, ring + place * Tile::stage, at); });
}

// use(m, n, sum) for each of the tile's first `rows` rows and `columns` columns; neighbouring threads have
// neighbouring columns. The sums go through `shared` (shared_bytes, free to use), where those of slices are
// added.
template <class Tile, class Use>
__device__ __forceinline__ void for_each_sum(const typename Tile::T (&acc)[Tile::TM][Tile::TN],
                                             typename Tile::T* shared, const typename Tile::Place& at,
                                             int rows, int columns, const Use& use) {
  using T = typename Tile::T;
  constexpr int slice = Tile::BM * Tile::pitch_c, wide = per_16_bytes<T>;
#pragma unroll
  for (int i = 0; i < Tile::TM; ++i)
#pragma unroll
    for (int j = 0; j < Tile::TN; j += wide) {
      Pack<T, wide> pack;
#pragma unroll
      for (int l = 0; l < wide; ++l) pack.v[l] = acc[i][j + l];
      store_pack(shared + at.slice * slice + (at.m + Tile::row(i)) * Tile::pitch_c + at.n + Tile::column(j),
                 pack);
    }
  __syncthreads();
  for (int e = threadIdx.x; e < rows * Tile::BN; e += Tile::threads) {
    const int m = e / Tile::BN, n = e % Tile::BN;
    if (n >= columns) continue;
    const T* from = shared + m * Tile::pitch_c + n;
    T sum = from[0];
#pragma unroll
    for (int s = 1; s < Tile::Slices; ++s) sum += from[s * slice];
    use(m, n, sum);
  }
}

}  // namespace weft::cuda
