// Two sums over the values of each channel of (N, C, L), in double: what the statistics and the gradients of
// all normalizations need.
//
// What is summed, and what becomes of it, is a struct F:
//
//   using Number = T;                          the arrays' type
//   Channel channel(c)                         what a channel's terms share
//   Loaded<V> load<V>(i)                       V neighbouring values from the i-th on
//   Pair term(loaded, v, channel, n, c, l)     the two terms of its v-th
//   void finish(c, Pair)                       takes the sums
//
//   sum_planes    L > 1: a block reads planes of one channel, or parts of these, 16 bytes a thread at once.
//   sum_columns   L = 1, rows of channels: neighbouring threads take neighbouring channels.
//
// Both cut a channel into `splits` pieces where the channels alone would not fill the device; partial sums go
// to a workspace and are added in order. Every value is read once.
#pragma once
#include "cuda/device/divisor.h"
#include "cuda/device/reduce.h"
#include "cuda/device/vec.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int sum_block = 256;
constexpr std::int64_t sum_blocks = 1024;  // of 256 threads: what an H200 holds at once

struct SumShape {
  std::int64_t N, C, L, splits, piece;
  WideDivider by_L;     // of sum_planes: numbers within a channel
  unsigned across = 1;  // of sum_columns: threads side by side
};

template <class F, int V>
__global__ void __launch_bounds__(sum_block) sum_planes(SumShape s, F f, Pair* parts) {
  const unsigned splits = static_cast<unsigned>(s.splits), c = blockIdx.x / splits,
                 split = blockIdx.x - c * splits;
  const std::int64_t begin = split * s.piece, values = s.N * s.L;
  const std::int64_t end = begin + s.piece < values ? begin + s.piece : values;
  const auto channel = f.channel(c);
  Pair sum = {0, 0};
#pragma unroll 2
  for (std::int64_t m = begin + threadIdx.x * V; m < end; m += sum_block * V) {
    std::int64_t n = m;
    const std::int64_t l = s.by_L.split(n);
    const auto loaded = f.template load<V>((n * s.C + c) * s.L + l);
#pragma unroll
    for (int v = 0; v < V; ++v) sum = Sum<Pair>::combine(sum, f.term(loaded, v, channel, n, c, l + v));
  }
  sum = block_reduce<Sum<Pair>, sum_block>(sum);
  if (threadIdx.x != 0) return;
  if (parts)
    parts[blockIdx.x] = sum;
  else
    f.finish(c, sum);
}

template <class F, int V>
__global__ void __launch_bounds__(sum_block) sum_columns(SumShape s, F f, Pair* parts) {
  const unsigned splits = static_cast<unsigned>(s.splits), tile = blockIdx.x / splits,
                 split = blockIdx.x - tile * splits;
  const unsigned column = threadIdx.x & (s.across - 1), row = threadIdx.x / s.across,
                 rows = sum_block / s.across;
  const std::int64_t first = (std::int64_t{tile} * s.across + column) * V;
  const std::int64_t end = (split + 1) * s.piece < s.N ? (split + 1) * s.piece : s.N;
  const bool active = first < s.C;
  typename F::Channel channel[V];
  Pair sum[V];
#pragma unroll
  for (int v = 0; v < V; ++v) {
    sum[v] = {0, 0};
    if (active) channel[v] = f.channel(first + v);
  }
#pragma unroll 2
  for (std::int64_t n = split * s.piece + row; active && n < end; n += rows) {
    const auto loaded = f.template load<V>(n * s.C + first);
#pragma unroll
    for (int v = 0; v < V; ++v)
      sum[v] = Sum<Pair>::combine(sum[v], f.term(loaded, v, channel[v], n, first + v, 0));
  }
#pragma unroll
  for (int v = 0; v < V; ++v) {
    sum[v] = column_reduce<Sum<Pair>, sum_block>(sum[v], s.across);
    if (row != 0 || !active) continue;
    if (parts)
      parts[(first + v) * s.splits + split] = sum[v];
    else
      f.finish(first + v, sum[v]);
  }
}

// A warp adds the pieces of a channel.
template <class F>
__global__ void __launch_bounds__(sum_block)
    join_sums(std::int64_t C, std::int64_t splits, F f, const Pair* parts) {
  const std::int64_t c = blockIdx.x * std::int64_t{sum_block / warp_size} + threadIdx.x / warp_size;
  const int lane = threadIdx.x % warp_size;
  Pair sum = {0, 0};
  for (std::int64_t i = lane; c < C && i < splits; i += warp_size)
    sum = Sum<Pair>::combine(sum, parts[c * splits + i]);
  sum = warp_reduce<Sum<Pair>>(sum);
  if (lane == 0 && c < C) f.finish(c, sum);
}

// Pieces so that `blocks` of them come to sum_blocks, each of at least `least` values or rows, a multiple
// of 16.
inline void cut(SumShape& s, std::int64_t values, std::int64_t blocks, std::int64_t least) {
  s.splits = 1;
  s.piece = values;
  if (blocks >= sum_blocks || values < 2 * least) return;
  const std::int64_t by_size = values / least, by_blocks = ceil_div(sum_blocks, blocks);
  s.piece = ceil_div(ceil_div(values, by_size < by_blocks ? by_size : by_blocks), 16) * 16;
  s.splits = ceil_div(values, s.piece);
}

// packs: whether the arrays start at a multiple of 16 bytes.
template <class F>
void sum_channels(const Stream& stream, std::int64_t N, std::int64_t C, std::int64_t L, bool packs,
                  const F& f) {
  constexpr int V = per_16_bytes<typename F::Number>;
  if (C == 0) return;
  SumShape s{.N = N, .C = C, .L = L, .splits = 1, .piece = 1, .by_L = WideDivider(L, N * L)};
  packs = packs && (L > 1 ? L : C) % V == 0;
  std::int64_t blocks = C;
  if (L != 1) {
    cut(s, N * L, C, 4096);
  } else {
    s.across = power_of_two(ceil_div(C, packs ? V : 1), warp_size);
    blocks = ceil_div(C, std::int64_t{s.across} * (packs ? V : 1));
    cut(s, N, blocks, 8 * sum_block / s.across);
  }
  const Workspace workspace(stream, s.splits > 1 ? C * s.splits * sizeof(Pair) : 0);
  Pair* parts = s.splits > 1 ? workspace.data<Pair>() : nullptr;
  const dim3 grid(static_cast<unsigned>(blocks * s.splits));
  const auto run = [&](auto* kernel) { launch_grid<sum_block>(stream, kernel, grid, s, f, parts); };
  if (L != 1)
    run(packs ? &sum_planes<F, V> : &sum_planes<F, 1>);
  else
    run(packs ? &sum_columns<F, V> : &sum_columns<F, 1>);
  if (parts)
    launch_grid<sum_block>(stream, join_sums<F>, static_cast<unsigned>(ceil_div(C, sum_block / warp_size)), C,
                           s.splits, f, parts);
}

// The moments of each channel: sums of x - shift and its square, where shift is the channel's first value, so
// that a mean far from zero cancels nothing: the variance is at least (shift - mean)^2 / M.
template <class T>
struct Moments {
  double mean, var, squares;  // squares: sum of (x - mean)^2
  // inverse_M: 1 / M, or 0 where there is no value.
  __device__ static Moments of(Pair sum, T shift, double inverse_M) {
    const double gap = sum.first * inverse_M, squares = sum.second - sum.first * gap;
    const double positive = squares <= 0 ? 0 : squares;  // below zero by rounding only; a NaN stays
    return {static_cast<double>(shift) + gap, positive * inverse_M, positive};
  }
};

template <class T>
__device__ T value_or(const void* array, std::int64_t i, T otherwise) {
  return array ? static_cast<const T*>(array)[i] : otherwise;
}

}  // namespace

}  // namespace weft::cuda
