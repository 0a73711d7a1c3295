// Convolutions of R x R with stride 2, R odd, as convolutions of (R + 1) / 2 squared with stride 1 on the
// phases of phases.h: their filters, whose last row and column are zero in the odd phases, and their
// gradient.
#pragma once
#include "cpu/conv2d_winograd/gradient.h"
#include "cpu/conv2d_winograd/phases.h"

namespace weft::cpu::WEFT_ISA {

inline std::int64_t phase_taps(const Conv2dParams& p) {
  return p.K * 4 * p.C * ((p.R + 1) / 2) * ((p.R + 1) / 2);
}

// f(index into (K, C, R, R), index into (K, 4 C, r, r)) for every tap, r = (R + 1) / 2.
template <class Each>
void for_each_phase_tap(const Conv2dParams& p, Each&& f) {
  const std::int64_t R = p.R, half = (R + 1) / 2;
  parallel_tasks(p.K, p.K * p.C * R * R, [&](std::int64_t k) {
    for (std::int64_t c = 0; c < p.C; ++c)
      for (std::int64_t r = 0; r < R; ++r)
        for (std::int64_t s = 0; s < R; ++s) {
          const std::int64_t channel = (r % 2 * p.C + c) * 2 + s % 2;
          f(((k * p.C + c) * R + r) * R + s, ((k * 4 * p.C + channel) * half + r / 2) * half + s / 2);
        }
  });
}

// The filter as (K, 4 C, r, r) in `w`.
inline Filters phase_filters(const Conv2dParams& p, const void* weight, bool turned, float* w) {
  const std::int64_t taps = phase_taps(p);
  parallel_ranges(taps, 4096, taps / 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) w[i] = 0;
  });
  for_each_phase_tap(
      p, [&](std::int64_t from, std::int64_t to) { w[to] = static_cast<const float*>(weight)[from]; });
  return {w, w + taps, turned ? 4 * p.C : p.K, turned ? p.K : 4 * p.C, turned};
}

inline Phases phases_of(const Conv2dParams& p, const void* x) {
  return {static_cast<const float*>(x), p.C, p.H, p.W, p.pad_top, p.pad_left};
}

template <class F>
void phase_weight_gradient(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  const Scratch<float> dw(phase_taps(p));
  const Images dout{static_cast<const float*>(a.dout), p.K, p.P, p.Q, 0, 0};
  weight_gradient<F>(p.N, phases_of(p, a.x), dout, {dw.data(), static_cast<float*>(a.db), p.K, 4 * p.C});
  for_each_phase_tap(p,
                     [&](std::int64_t to, std::int64_t from) { static_cast<float*>(a.dw)[to] = dw[from]; });
}

}  // namespace weft::cpu::WEFT_ISA
