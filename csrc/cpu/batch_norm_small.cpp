// Batch normalization of small planes (7x7, 4x4), training, float32; see ops/norm.h for the formulas.
//
// With a few values to a plane and channel, a loop over a plane ends before it has begun, and adding the
// lanes of a sum costs more than the sum. So a task takes a run of neighbouring channels, whose planes lie
// one after the other in an image, and goes over it place by place: a sum for each place of the run, over the
// images. Each channel adds its places once, at the end. The run's values, some hundred KB, stay in the
// second-level cache between the sweeps.
//
// Mean and variance as everywhere here: first the mean, then the sums of x - mean and of its square, so that
// a large mean costs no digits.
#include "cpu/batch_norm.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t run_places = 1024, most_images = 1024, most_places = 64;

// A float for each place of a run.
struct Places {
  alignas(64) float at[run_places + row_lanes];
  // In whole groups: runs over into the places behind, which are filled later.
  void fill(std::int64_t first, std::int64_t n, float value) {
    for (std::int64_t i = first; i < first + n; i += row_lanes)
      for (int l = 0; l < row_lanes; ++l) at[i + l] = value;
  }
};

// The means and the moments of `channels` channels of L places; x: the run in the first image.
void run_moments(const float* x, std::int64_t N, std::int64_t L, std::int64_t channels, std::int64_t stride,
                 Moments* moments) {
  Places center, first, second;
  const std::int64_t n = channels * L;
  const float count = static_cast<float>(N * L);
  first.fill(0, n, 0);
  for (std::int64_t r = 0; r < N; ++r)
    for (std::int64_t i = 0; i < n; ++i) first.at[i] += x[r * stride + i];
  for (std::int64_t k = 0; k < channels; ++k) center.fill(k * L, L, row_sum(first.at + k * L, L) / count);
  first.fill(0, n, 0);
  second.fill(0, n, 0);
  for (std::int64_t r = 0; r < N; ++r)
    for (std::int64_t i = 0; i < n; ++i) {
      const float gap = x[r * stride + i] - center.at[i];
      first.at[i] += gap;
      second.at[i] += gap * gap;
    }
  for (std::int64_t k = 0; k < channels; ++k) {
    const double gap = row_sum(first.at + k * L, L), squares = row_sum(second.at + k * L, L);
    moments[k] = {count, center.at[k * L] + gap / count, squares - gap * gap / count};
  }
}

template <bool relu, bool residual>
void write_run(const BatchNormArgs& a, std::int64_t at, std::int64_t n, const Places& mean,
               const Places& scale, const Places& shift) {
  for (std::int64_t r = 0; r < a.N; ++r, at += a.C * a.L) {
    const float* x = static_cast<const float*>(a.x) + at;
    const float* add = static_cast<const float*>(a.residual) + (residual ? at : 0);
    float* __restrict out = static_cast<float*>(a.out) + at;
    for (std::int64_t i = 0; i < n; ++i) {
      float v = (x[i] - mean.at[i]) * scale.at[i] + shift.at[i];
      if (residual) v += add[i];
      out[i] = relu && v <= 0 ? 0 : v;
    }
  }
}

}  // namespace

bool batch_norm_small_forward(const BatchNormArgs& a) {
  if (a.dtype != DType::float32 || !a.training || a.L < 4 || a.L > most_places || a.N > most_images)
    return false;
  const std::int64_t channels = run_places / a.L;
  parallel_tasks(ceil_div(a.C, channels), 3 * a.N * a.C * a.L, [&](std::int64_t run) {
    const std::int64_t c = run * channels, count = min_of(channels, a.C - c);
    Moments moments[run_places / 4];
    run_moments(static_cast<const float*>(a.x) + c * a.L, a.N, a.L, count, a.C * a.L, moments);
    Places mean, scale, shift;
    for (std::int64_t k = 0; k < count; ++k) {
      finish_channel<float>(a, c + k, moments[k]);
      const ChannelMap<float> map(a.mean, a.inv_std, a.gamma, a.beta, c + k);
      mean.fill(k * a.L, a.L, map.mean);
      scale.fill(k * a.L, a.L, map.scale);
      shift.fill(k * a.L, a.L, map.shift);
    }
    const auto write = a.relu       ? a.residual ? write_run<true, true> : write_run<true, false>
                             : a.residual ? write_run<false, true>
                                    : write_run<false, false>;
    write(a, c * a.L, count * a.L, mean, scale, shift);
  });
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
