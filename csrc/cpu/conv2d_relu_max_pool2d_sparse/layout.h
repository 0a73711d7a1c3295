// Where everything lies: images with the channels last and their second, shifted copies, weights as runs, and
// the ways from and to NCHW and OIHW.
#pragma once
#include "cpu/conv2d_relu_max_pool2d_sparse/collect.h"
#include "cpu/conv2d_winograd/transpose.h"
#include "cpu/simd/some.h"
#include "ops/conv2d_relu_max_pool2d.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t batch_limit = 28 * 1024;  // bytes of the images that are listed together: L1

void zero(float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = 0;
}

// The layout of everything.
struct Plan {
  explicit Plan(const Conv2dReluMaxPool2dBackwardArgs& a)
      : p(a.p),
        pool(a.pool),
        Cp(p.C <= 2   ? p.C
           : p.C <= 4 ? 4
                      : round_up(p.C, 8)),
        weight_runs(p.R, p.S * Cp),
        image_runs(p.R, (p.S + 1) * Cp),
        Hp(p.H + p.pad_top + p.pad_bottom),
        pitch(round_up((p.W + p.pad_left + p.pad_right) * Cp, 16)),
        image(round_up(Hp * pitch + weight_runs.length() + image_runs.length(), 16)),
        copies(lanes == 16 && (Cp == 8 || Cp == 1) ? 2 : 1),
        images(copies * image + 16),
        batch(max_of<std::int64_t>(1, min_of<std::int64_t>(4, batch_limit / (4 * images)))),
        weights(p.K * p.R * weight_runs.length()),
        positions(pool.PP * pool.PQ) {}

  // A run that begins in the middle of a cache line would cross into the next: so there is a second copy of
  // the image, shifted by half a line. With eight channels it serves the odd columns, with one channel every
  // other eight columns.
  std::int64_t second_copy() const { return image + 8; }
  // Where window o lies, where its runs begin, and from there on those of its position (u, v).
  std::int64_t window(std::int64_t o) const { return o / pool.PQ * 2 * pitch + o % pool.PQ * 2 * Cp; }
  std::int64_t corner(std::int64_t o) const {
    return window(o) + (copies == 2 && Cp == 1 && o % pool.PQ * 2 % 16 >= 8 ? second_copy() : 0);
  }
  std::int64_t shift(std::int64_t u, std::int64_t v) const {
    return u * pitch + v * Cp + (copies == 2 && Cp == 8 && v ? second_copy() : 0);
  }

  const Conv2dParams& p;
  const PoolWindow& pool;
  std::int64_t Cp;
  Runs weight_runs, image_runs;
  std::int64_t Hp, pitch, image, copies;
  std::int64_t images;   // elements of an image with its copy
  std::int64_t batch;    // images of one list
  std::int64_t weights;  // elements of one group's dw
  std::int64_t positions;
};

// Five to eight channels on vectors of sixteen: two rows of pixels are turned together. False elsewhere.
#if defined(WEFT_ISA_avx512)
typedef float Half __attribute__((vector_size(32), aligned(4), may_alias));

bool turned_last(const Plan& plan, const float* x, float* image) {
  const Conv2dParams& p = plan.p;
  if (plan.Cp != 8) return false;
  for (std::int64_t h = 0; h < p.H; h += 2)
    for (std::int64_t w = 0; w < p.W; w += 16) {
      const std::int64_t count = min_of<std::int64_t>(16, p.W - w);
      const bool second = h + 1 < p.H;
      Vec r[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        r[i] = i % 8 < p.C && (i < 8 || second) ? load_some(x + (i % 8 * p.H + h + i / 8) * p.W + w, count)
                                                : Vec{};
      transpose(r);
      float* to = image + (h + p.pad_top) * plan.pitch + (p.pad_left + w) * 8;
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i, to += 8) {
        if (i >= count) break;
        const Half upper = __builtin_shufflevector(r[i], r[i], 0, 1, 2, 3, 4, 5, 6, 7);
        const Half lower = __builtin_shufflevector(r[i], r[i], 8, 9, 10, 11, 12, 13, 14, 15);
        *reinterpret_cast<Half*>(to) = upper;
        *reinterpret_cast<Half*>(to + plan.second_copy()) = upper;
        if (!second) continue;
        *reinterpret_cast<Half*>(to + plan.pitch) = lower;
        *reinterpret_cast<Half*>(to + plan.pitch + plan.second_copy()) = lower;
      }
    }
  return true;
}

bool turned_first(const Plan& plan, const float* image, float* x) {
  const Conv2dParams& p = plan.p;
  if (plan.Cp != 8) return false;
  for (std::int64_t h = 0; h < p.H; h += 2)
    for (std::int64_t w = 0; w < p.W; w += 16) {
      const std::int64_t count = min_of<std::int64_t>(16, p.W - w);
      const auto mask = static_cast<unsigned short>((1u << count) - 1);
      const bool second = h + 1 < p.H;
      const float* from = image + (h + p.pad_top) * plan.pitch + (p.pad_left + w) * 8;
      Vec r[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i, from += 8) {
        r[i] = Vec{};
        if (i >= count) continue;
        const Half upper = *reinterpret_cast<const Half*>(from);
        const Half lower = second ? *reinterpret_cast<const Half*>(from + plan.pitch) : Half{};
        r[i] = __builtin_shufflevector(upper, lower, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      }
      transpose(r);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        if (i % 8 < p.C && (i < 8 || second))
          __builtin_ia32_storeups512_mask(x + (i % 8 * p.H + h + i / 8) * p.W + w, r[i], mask);
    }
  return true;
}
#else
bool turned_last(const Plan&, const float*, float*) { return false; }
bool turned_first(const Plan&, const float*, float*) { return false; }
#endif

// x (C,H,W) to the padded image with the channels last. What lies around stays zero.
void channels_last(const Plan& plan, const float* x, float* image) {
  if (turned_last(plan, x, image)) return;
  const Conv2dParams& p = plan.p;
  for (std::int64_t copy = 0; copy < plan.copies; ++copy)
    for (std::int64_t c = 0; c < p.C; ++c)
      for (std::int64_t h = 0; h < p.H; ++h) {
        const float* from = x + (c * p.H + h) * p.W;
        float* to =
            image + copy * plan.second_copy() + (h + p.pad_top) * plan.pitch + p.pad_left * plan.Cp + c;
        if (plan.Cp == 1)
          for (std::int64_t w = 0; w < p.W; ++w) to[w] = from[w];
        else
          for (std::int64_t w = 0; w < p.W; ++w) to[w * plan.Cp] = from[w];
      }
}

// The way back, without the padding.
void channels_first(const Plan& plan, const float* image, float* x) {
  if (turned_first(plan, image, x)) return;
  const Conv2dParams& p = plan.p;
  for (std::int64_t c = 0; c < p.C; ++c)
    for (std::int64_t h = 0; h < p.H; ++h, x += p.W) {
      const float* from = image + (h + p.pad_top) * plan.pitch + p.pad_left * plan.Cp + c;
      for (std::int64_t w = 0; w < p.W; ++w) x[w] = from[w * plan.Cp];
    }
}

// weight (K,C,R,S) to [v][k][r][v + s][c].
void pack_weights(const Plan& plan, const float* weight, float* to) {
  const Conv2dParams& p = plan.p;
  const std::int64_t length = plan.image_runs.length(), half = p.K * p.R * length;
  zero(to, 2 * half);
  for (std::int64_t k = 0; k < p.K; ++k)
    for (std::int64_t c = 0; c < p.C; ++c)
      for (std::int64_t r = 0; r < p.R; ++r)
        for (std::int64_t s = 0; s < p.S; ++s, ++weight) {
          float* run = to + (k * p.R + r) * length + s * plan.Cp + c;
          run[0] = run[half + plan.Cp] = *weight;
        }
}

// sums: [k][r][run]; dw: (K,C,R,S).
void unpack_weights(const Plan& plan, const float* sums, float* dw) {
  const Conv2dParams& p = plan.p;
  const std::int64_t length = plan.weight_runs.length();
  for (std::int64_t k = 0; k < p.K; ++k)
    for (std::int64_t c = 0; c < p.C; ++c)
      for (std::int64_t r = 0; r < p.R; ++r)
        for (std::int64_t s = 0; s < p.S; ++s) *dw++ = sums[(k * p.R + r) * length + s * plan.Cp + c];
}

}  // namespace

}  // namespace weft::cpu::WEFT_ISA
