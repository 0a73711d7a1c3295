// Packing: a panel of A or B copied into the order in which a tile reads it, to[step][lane]. Lanes that do
// not exist become zeros. Rows that lie along the steps are turned in registers, a square of vectors at a
// time.
#pragma once
#include "cpu/gemm/problem.h"

namespace weft::cpu::WEFT_ISA {

// to[step][0..size] for steps that lie side by side in memory. Where the width is not a multiple of the
// vector, whole vectors are stored all the same: the next step's overwrite what lies too far, so only the
// last is cut.
template <class T>
void pack_turned(T* to, std::int64_t size, const T* from, std::int64_t lanes, std::int64_t lane_stride,
                 std::int64_t steps) {
  using Vec = typename Tile<T>::Vec;
  constexpr int L = Tile<T>::lanes;
  for (std::int64_t step = 0; step < steps; step += L) {
    const std::int64_t count = min_of<std::int64_t>(L, steps - step);
    for (std::int64_t first = (size - 1) / L * L; first >= 0; first -= L) {
      Vec r[L];
#pragma GCC unroll 16
      for (int l = 0; l < L; ++l) {
        const T* row = from + (first + l) * lane_stride + step;
        r[l] = first + l >= lanes ? Vec{}
               : count == L       ? *reinterpret_cast<const Vec*>(row)
                                  : load_some<T>(row, count);
      }
      transpose<T>(r);
      T* out = to + step * size + first;
      if (count == L) {
#pragma GCC unroll 16
        for (int l = 0; l < L - 1; ++l) *reinterpret_cast<Vec*>(out + l * size) = r[l];
      } else {
        for (int l = 0; l + 1 < count && l < L; ++l) *reinterpret_cast<Vec*>(out + l * size) = r[l];
      }
      store_some<T>(out + (count - 1) * size, r[count - 1], min_of<std::int64_t>(L, size - first));
    }
  }
}

// to[step][lane] = from[lane * lane_stride + step * step_stride], for `lanes` lanes of `size`.
template <class T>
void pack_panel(T* to, std::int64_t size, const T* from, std::int64_t lanes, std::int64_t lane_stride,
                std::int64_t steps, std::int64_t step_stride) {
  using Vec = typename Tile<T>::Vec;
  constexpr int L = Tile<T>::lanes;
  if (step_stride == 1 && lane_stride != 1) return pack_turned<T>(to, size, from, lanes, lane_stride, steps);
  if (lane_stride == 1) {
    for (std::int64_t step = 0; step < steps; ++step, to += size, from += step_stride) {
      std::int64_t lane = 0;
      for (; lane + L <= lanes; lane += L)
        *reinterpret_cast<Vec*>(to + lane) = *reinterpret_cast<const Vec*>(from + lane);
      if (lane < size) {
        if (size % L == 0)
          *reinterpret_cast<Vec*>(to + lane) =
              load_some<T>(from + lane, max_of<std::int64_t>(0, lanes - lane));
        else
          for (std::int64_t l = lane; l < size; ++l) to[l] = l < lanes ? from[l] : T(0);
        for (lane += L; lane < size; ++lane) to[lane] = 0;
      }
    }
    return;
  }
  for (std::int64_t step = 0; step < steps; ++step)
    for (std::int64_t lane = 0; lane < size; ++lane)
      to[step * size + lane] = lane < lanes ? from[lane * lane_stride + step * step_stride] : T(0);
}

}  // namespace weft::cpu::WEFT_ISA
