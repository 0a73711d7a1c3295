// Stable radix sort of 32-bit keys with their positions, 8 bits in a pass, the lowest first. No atomics: an
// element's place is the number of those that come before it, which depends on nothing but the keys.
//
// A pass is three kernels over tiles of 2048 keys:
//   count    counts[d, t]: how many keys of tile t have the digit d
//   scan     counts[d, t]: how many of them the tiles before t have; totals[d]: all of them
//   scatter  place = all keys of smaller digits + those of this digit in earlier tiles, in earlier warps, in
//            earlier rounds, in lower lanes
//
// A warp takes 32 neighbouring keys a round; lanes of equal digits find each other by __match_any_sync.
// Source: Satish, Harris, Garland, "Designing efficient sorting algorithms for manycore GPUs", 2009; here
// with counters of a warp in shared memory.
//
// Bytes: 20 for each key in a pass; keys of 24 bits are 3 passes and 9 launches.
#include "cuda/device/reduce.h"
#include "cuda/kernels.h"
#include "cuda/sort.h"

namespace weft::cuda {

namespace {

constexpr int digit_bits = 8;
constexpr int digits = 1 << digit_bits;
constexpr int block = digits;  // a thread for each digit
constexpr int warps = block / warp_size;
constexpr int rounds = 8;
constexpr int tile = block * rounds;

// The sum of `value` over this lane and those before it.
__device__ __forceinline__ unsigned inclusive_sum(unsigned value) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
#pragma unroll
  for (int distance = 1; distance < warp_size; distance *= 2) {
    const unsigned before = __shfl_up_sync(all_lanes, value, static_cast<unsigned>(distance));
    if (lane >= distance) value += before;
  }
  return value;
}

// Goes through a tile: counters[w][d] is how many keys of warp w have the digit d, rank[r] how many of those
// come before this thread's key of round r. Beyond the end rank is not set.
__device__ __forceinline__ void count_tile(const unsigned* keys, unsigned count, int shift,
                                           unsigned (&counters)[warps][digits], unsigned (&key)[rounds],
                                           unsigned (&rank)[rounds]) {
  const unsigned lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const unsigned first = blockIdx.x * tile + warp * (warp_size * rounds) + lane;
#pragma unroll
  for (int w = 0; w < warps; ++w) counters[w][threadIdx.x] = 0;
#pragma unroll
  for (int r = 0; r < rounds; ++r) {
    const unsigned at = first + static_cast<unsigned>(r * warp_size);
    key[r] = at < count ? keys[at] : 0;
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < rounds; ++r) {
    const bool there = first + static_cast<unsigned>(r * warp_size) < count;
    const unsigned digit = key[r] >> shift & (digits - 1);
    const unsigned same =
        __match_any_sync(all_lanes, there ? digit : digits);  // beyond the end: among themselves
    const unsigned before = counters[warp][digit];
    rank[r] = before + static_cast<unsigned>(__popc(same & ((1u << lane) - 1)));
    __syncwarp(all_lanes);
    if (there && (same >> lane) == 1) counters[warp][digit] = before + static_cast<unsigned>(__popc(same));
    __syncwarp(all_lanes);
  }
  __syncthreads();
}

__global__ void __launch_bounds__(block)
    count_kernel(const unsigned* keys, unsigned count, int shift, unsigned* counts) {
  SHARED(unsigned, counters, [warps][digits]);
  unsigned key[rounds], rank[rounds];
  count_tile(keys, count, shift, counters, key, rank);
  unsigned sum = 0;
#pragma unroll
  for (int w = 0; w < warps; ++w) sum += counters[w][threadIdx.x];
  counts[threadIdx.x * gridDim.x + blockIdx.x] = sum;
}

// A warp for each digit.
__global__ void __launch_bounds__(block) scan_kernel(unsigned* counts, unsigned tiles, unsigned* totals) {
  const unsigned lane = threadIdx.x % warp_size, digit = blockIdx.x * warps + threadIdx.x / warp_size;
  unsigned* row = counts + digit * tiles;
  unsigned carry = 0;
  for (unsigned first = 0; first < tiles; first += warp_size) {
    const unsigned at = first + lane;
    const unsigned count = at < tiles ? row[at] : 0, sum = carry + inclusive_sum(count);
    if (at < tiles) row[at] = sum - count;
    carry = __shfl_sync(all_lanes, sum, warp_size - 1);
  }
  if (lane == 0) totals[digit] = carry;
}

// How many keys have a digit smaller than this thread's; all threads of a block call it.
__device__ __forceinline__ unsigned smaller_digits(const unsigned* totals) {
  SHARED(unsigned, sums, [warps]);
  const unsigned lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const unsigned total = totals[threadIdx.x], inclusive = inclusive_sum(total);
  if (lane == warp_size - 1) sums[warp] = inclusive;
  __syncthreads();
  unsigned before = inclusive - total;
#pragma unroll
  for (unsigned w = 0; w < warps; ++w)
    if (w < warp) before += sums[w];
  return before;
}

// `positions` is null in the first pass: every key is at its own.
__global__ void __launch_bounds__(block)
    scatter_kernel(const unsigned* keys, const unsigned* positions, unsigned count, int shift,
                   const unsigned* counts, const unsigned* totals, unsigned* keys_out,
                   unsigned* positions_out) {
  SHARED(unsigned, counters, [warps][digits]);
  unsigned key[rounds], rank[rounds];
  const unsigned smaller = smaller_digits(totals);
  count_tile(keys, count, shift, counters, key, rank);
  unsigned place = smaller + counts[threadIdx.x * gridDim.x + blockIdx.x];
#pragma unroll
  for (int w = 0; w < warps; ++w) {
    const unsigned of_warp = counters[w][threadIdx.x];
    counters[w][threadIdx.x] = place;
    place += of_warp;
  }
  __syncthreads();
  const unsigned warp = threadIdx.x / warp_size;
  const unsigned first = blockIdx.x * tile + warp * (warp_size * rounds) + threadIdx.x % warp_size;
#pragma unroll
  for (int r = 0; r < rounds; ++r) {
    const unsigned at = first + static_cast<unsigned>(r * warp_size);
    if (at >= count) continue;
    const unsigned to = counters[warp][key[r] >> shift & (digits - 1)] + rank[r];
    keys_out[to] = key[r];
    positions_out[to] = positions ? positions[at] : at;
  }
}

}  // namespace

// Keys, positions twice, counts, totals.
std::size_t sort_words(unsigned count) {
  return std::size_t{3} * count + std::size_t{digits} * (ceil_div(count, tile) + 1);
}

SortedKeys sort_keys(const Stream& stream, unsigned* keys, unsigned count, int bits, unsigned* workspace) {
  const unsigned tiles = ceil_div(count, tile);
  unsigned* const counts = workspace + std::size_t{3} * count;
  unsigned* const totals = counts + std::size_t{digits} * tiles;
  SortedKeys from{keys, nullptr}, to{workspace, workspace + count};
  unsigned* spare = workspace + std::size_t{2} * count;
  for (int shift = 0; shift == 0 || shift < bits; shift += digit_bits) {
    launch_grid<block>(stream, count_kernel, tiles, from.keys, count, shift, counts);
    launch_grid<block>(stream, scan_kernel, digits / warps, counts, tiles, totals);
    launch_grid<block>(stream, scatter_kernel, tiles, from.keys, from.positions, count, shift, counts, totals,
                       to.keys, to.positions);
    const SortedKeys next{from.keys, from.positions ? from.positions : spare};
    from = to;
    to = next;
  }
  return from;
}

}  // namespace weft::cuda
