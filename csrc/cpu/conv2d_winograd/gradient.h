// The gradient by the weight: dw = G^T [sum over tiles of D . V] G.
//
// A stage of tiles is transformed, then each pair (panel of output channels, block of input channels) adds
// its products to its sums S [plane][L input channels][2 L output channels]; after the last stage the pair's
// S becomes dw. Small weights have too few pairs for many threads and a V that would travel between cores:
// there the stages are dealt to a fixed number of groups, each with sums of its own, added in order at the
// end.
#pragma once
#include "cpu/conv2d_winograd/convolve.h"

namespace weft::cpu::WEFT_ISA {

constexpr std::int64_t tiles_of_stage = 64;
// Numbers of S up to which stages are dealt to groups.
constexpr std::int64_t dealt_weight = 36 * 64 * 64;

struct Gradient {
  float* dw;  // (K, C, R, S)
  float* db;  // (K), may be null
  std::int64_t K, C;
};

// Sizes shared by the steps below.
template <class F>
struct GradientPlan {
  static constexpr int planes = F::n * F::n;
  GradientPlan(const Gradient& g, const Blocks& blocks)
      : blocks(blocks),
        v(g.C, blocks.largest),
        d(g.K, blocks.largest),
        panels(ceil_div(g.K, panel)),
        pairs(panels * v.blocks),
        sums(planes * plane),
        scratch(input_scratch<F>(blocks)) {}
  static constexpr std::int64_t plane = L * panel + 16;  // not a power of two
  const Blocks& blocks;
  Operand v, d;
  std::int64_t panels, pairs, sums, scratch;
};

// S of one pair += (first: =) the products of one block.
template <class F>
[[gnu::noinline]] void add_products(const GradientPlan<F>& plan, const Block& b, std::int64_t channels,
                                    int vectors, const float* v, const float* d, float* s, bool add) {
  for (int i = 0; i < F::n; ++i)
    for (int j = 0; j < F::n; ++j) {
      const int plane = i * F::n + j;
      const Range range = b.range(i == F::n - 1, j == F::n - 1);
      multiply_block(range.end - range.begin, channels, vectors, v + plane * plan.v.plane + range.begin * L,
                     d + plane * plan.d.plane + range.begin * L, plan.d.tiles * L, s + plane * plan.plane,
                     add);
    }
}

// The pair's S to dw.
template <class F>
[[gnu::noinline]] void finish_pair(const GradientPlan<F>& plan, const Gradient& g, std::int64_t pair,
                                   const float* s) {
  constexpr int taps = F::r * F::r;
  const std::int64_t p = pair / plan.v.blocks, c0 = pair % plan.v.blocks * L;
  const std::int64_t channels = min_of<std::int64_t>(L, g.C - c0), length = channels * taps;
  const int vectors = panel_vectors(g.K, p);
  alignas(64) float dg[L * taps * L];
  for (int vector = 0; vector < vectors; ++vector) {
    for (std::int64_t c = 0; c < channels; ++c)
      weight_gradient<F>(s + (c * vectors + vector) * L, plan.plane, dg + c * taps * L);
    const std::int64_t k0 = p * panel + vector * L, lanes = min_of<std::int64_t>(L, g.K - k0);
    store_run(dg, length, g.dw + (k0 * g.C + c0) * taps, g.C * taps, lanes, false);
  }
}

// Blocks `first` .. `last`, one after the other, into sums s [pair] and db. alone: there are no other sums,
// so that each pair becomes dw as soon as it is complete; with a single block its sums never leave the cache
// (s is not used).
template <class F, class In>
void add_blocks(const GradientPlan<F>& plan, const Gradient& g, const In& x, const Images& dout,
                std::int64_t first, std::int64_t last, float* s, float* db, bool alone, std::int64_t work) {
  const Scratch<float> v(plan.planes * plan.v.plane), d(plan.planes * plan.d.plane);
  for (std::int64_t index = first; index < last; ++index) {
    const Block b = plan.blocks[index];
    parallel_tasks(plan.v.blocks + plan.d.blocks, work, [&](std::int64_t i) {
      const Scratch<float> scratch(plan.scratch);
      if (i < plan.v.blocks) {
        transform_block<F>(x, plan.blocks, b, i, plan.v, v.data(), scratch.data());
        return;
      }
      i -= plan.v.blocks;
      Vec sum{};
      for (std::int64_t image = 0; image < b.images; ++image)
        sum += transform_dout<F>(dout, plan.blocks, b, image, i, plan.d, d.data(), scratch.data());
      store(db + i * L, index > first ? load(db + i * L) + sum : sum);
    });
    parallel_tasks(plan.pairs, work, [&](std::int64_t pair) {
      const std::int64_t p = pair / plan.v.blocks, c = pair % plan.v.blocks;
      const Scratch<float> own(alone && last - first == 1 ? plan.sums : 0);
      float* sums = own.data() ? own.data() : s + pair * plan.sums;
      const std::int64_t channels = min_of<std::int64_t>(L, g.C - c * L);
      add_products(plan, b, channels, panel_vectors(g.K, p), plan.v.at(v.data(), c, 0),
                   plan.d.at(d.data(), 2 * p, 0), sums, index > first);
      if (alone && index == last - 1) finish_pair(plan, g, pair, sums);
    });
  }
}

// x: C channels, dout: K channels, N images each, dout P x Q.
template <class F, class In>
void weight_gradient(std::int64_t N, const In& x, const Images& dout, const Gradient& g) {
  const Blocks blocks(N, dout.H, dout.W, F::m, tiles_of_stage);
  const GradientPlan<F> plan(g, blocks);
  const std::int64_t work = N * dout.H * dout.W * g.C * g.K / 2, all = plan.pairs * plan.sums,
                     lanes = plan.d.blocks * L;
  const bool deal = g.C * g.K * plan.planes <= dealt_weight && blocks.count > 1;
  const std::int64_t groups = deal ? min_of<std::int64_t>(8, blocks.count) : 1;
  const Scratch<float> s(blocks.count > 1 ? groups * all : 0), db(groups * lanes);
  parallel_tasks(groups, deal ? work : 0, [&](std::int64_t group) {
    std::int64_t first, size;
    Blocks::cut(blocks.count, groups, group, first, size);
    add_blocks(plan, g, x, dout, first, first + size, s.data() + group * all, db.data() + group * lanes,
               !deal, deal ? 0 : work);
  });
  if (deal)
    parallel_tasks(plan.pairs, groups * all, [&](std::int64_t pair) {
      float* sum = s.data() + pair * plan.sums;
      for (std::int64_t group = 1; group < groups; ++group)
        for (std::int64_t i = 0; i < plan.sums; i += L)
          store(sum + i, load(sum + i) + load(sum + group * all + i));
      finish_pair(plan, g, pair, sum);
    });
  if (!g.db) return;
  for (std::int64_t k = 0; k < g.K; ++k) {
    float sum = db[k];
    for (std::int64_t group = 1; group < groups; ++group) sum += db[group * lanes + k];
    g.db[k] = sum;
  }
}

}  // namespace weft::cpu::WEFT_ISA
