// What the methods share for the gradients of the weight and the bias.
#pragma once
#include "cpu/parallel.h"
#include "cpu/simd/lanes.h"
#include "ops/conv2d.h"

namespace weft::cpu::WEFT_ISA {

// How the weight's gradient is cut: images into groups, whose sums are added afterwards, as far as these sums
// stay small; and a convolution group's input channels into blocks, which have nothing in common. All by the
// problem alone.
struct GradientCut {
  explicit GradientCut(const Conv2dParams& p) {
    constexpr std::int64_t tasks = 16, small = 1 << 18;
    const std::int64_t c = p.C / p.groups;
    groups = min_of(p.N, min_of(tasks, max_of<std::int64_t>(1, small / (p.K * c * p.R * p.S))));
    // A block is at least one panel of columns wide.
    const std::int64_t narrowest = ceil_div(32, p.R * p.S), wanted = ceil_div(tasks, groups * p.groups);
    channels = min_of(c, ceil_div(ceil_div(c, wanted), narrowest) * narrowest);
    blocks = ceil_div(c, channels);
  }
  std::int64_t groups, channels, blocks;
};

// db[k]: the sum of dout over images and positions.
template <class T>
void conv2d_sum_bias(const Conv2dBackwardWeightArgs& a) {
  using Vec = typename VecOf<T>::type;
  constexpr std::int64_t L = lanes_of<T>;
  const Conv2dParams& p = a.p;
  const std::int64_t plane = p.P * p.Q;
  parallel_tasks(p.K, p.N * p.K * plane, [&](std::int64_t k) {
    T total = 0;
    for (std::int64_t n = 0; n < p.N; ++n) {
      const T* from = static_cast<const T*>(a.dout) + (n * p.K + k) * plane;
      Vec sum[4] = {};
      std::int64_t i = 0;
      for (; i + 4 * L <= plane; i += 4 * L)
        for (int j = 0; j < 4; ++j) sum[j] += *reinterpret_cast<const Vec*>(from + i + j * L);
      for (; i < plane; i += L) sum[0] += load_some<T>(from + i, min_of(L, plane - i));
      const Vec v = (sum[0] + sum[1]) + (sum[2] + sum[3]);
      for (int l = 0; l < L; ++l) total += v[l];
    }
    static_cast<T*>(a.db)[k] = total;
  });
}

// dw[i]: the sum of the groups' sums, in order.
template <class T>
void conv2d_sum_groups(const T* partial, std::int64_t groups, std::int64_t weights, T* dw) {
  parallel_ranges(weights, 4096, groups * weights, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      T total = 0;
      for (std::int64_t g = 0; g < groups; ++g) total += partial[g * weights + i];
      dw[i] = total;
    }
  });
}

}  // namespace weft::cpu::WEFT_ISA
