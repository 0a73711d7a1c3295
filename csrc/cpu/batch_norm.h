// What the methods of batch normalization share: one channel's statistics, its map, and the gradient behind
// ReLU.
#pragma once
#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

// Rows of channels, L = 1: vectors of a batch, or the pixels of images that lie channels last. False for
// other problems: then nothing was written.
bool batch_norm_rows_forward(const BatchNormArgs& a);
bool batch_norm_rows_backward(const BatchNormBackwardArgs& a);

// Small planes, L <= 64. False likewise.
bool batch_norm_small_forward(const BatchNormArgs& a);

namespace {

template <class T>
[[gnu::always_inline]] inline T value_or(const void* array, std::int64_t i, T otherwise) {
  return array ? static_cast<const T*>(array)[i] : otherwise;
}

struct Moments {  // of the values so far; squares: the sum of (x - mean)^2
  double count, mean, squares;
};

// Saves a channel's statistics for backward, and moves the running ones.
template <class T>
void finish_channel(const BatchNormArgs& a, std::int64_t c, const Moments& m) {
  auto *running_mean = static_cast<T*>(a.running_mean), *running_var = static_cast<T*>(a.running_var);
  double mean = m.mean, var = m.squares / m.count;
  if (!a.training) {
    mean = running_mean[c];
    var = running_var[c];
  } else if (running_mean) {
    const double move = a.cumulative ? 1.0 / static_cast<double>(a.num_batches_tracked[0]) : a.momentum;
    running_mean[c] = static_cast<T>((1 - move) * running_mean[c] + move * mean);
    running_var[c] = static_cast<T>((1 - move) * running_var[c] + move * m.squares / (m.count - 1));
  }
  static_cast<T*>(a.mean)[c] = static_cast<T>(mean);
  static_cast<T*>(a.inv_std)[c] = static_cast<T>(1 / __builtin_sqrt(var + a.eps));
}

template <class T>
struct ChannelMap {  // v = (x - mean) scale + shift
  [[gnu::always_inline]] ChannelMap(const void* means, const void* inv_stds, const void* gamma,
                                    const void* beta, std::int64_t c)
      : mean(static_cast<const T*>(means)[c]),
        scale(static_cast<const T*>(inv_stds)[c] * value_or(gamma, c, T(1))),
        shift(value_or(beta, c, T(0))) {}
  [[gnu::always_inline]] T operator()(T x) const { return (x - mean) * scale + shift; }
  T mean, scale, shift;
};

// What tells where ReLU cut dout off.
enum class Mask : std::uint8_t { none, by_input, by_output };

template <class T>
[[gnu::always_inline]] inline T through_relu(T dout, T v) {  // v: ReLU's input or output
  return v <= 0 ? T(0) : dout;
}

// g, the gradient behind ReLU.
template <class T, Mask mask>
[[gnu::always_inline]] inline T behind_relu(const ChannelMap<T>& map, T dout, T x, const T* out,
                                            std::int64_t i) {
  if (mask == Mask::by_output) return through_relu(dout, out[i]);
  if (mask == Mask::by_input) return through_relu(dout, map(x));
  return dout;
}

}  // namespace

}  // namespace weft::cpu::WEFT_ISA
