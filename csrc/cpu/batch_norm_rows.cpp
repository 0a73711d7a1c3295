// Batch normalization of rows of channels (N, C, 1): a batch of vectors, or the pixels of images that lie
// channels last. Lanes are channels. See ops/norm.h for the formulas.
//
// A piece is some rows that fit the first two caches; how many depends on C alone. Each piece gives, for
// every channel, its mean and its sum of squared differences from it (or, backward, the two sums that dx
// needs): first the piece's mean, then the sums of x - mean and of its square, so that a large mean costs no
// digits. The pieces are joined in order, in double (Chan, Golub, LeVeque 1979); a second sweep over the rows
// writes. Memory is read twice: no channel is finished before the last row was seen.
#include "cpu/batch_norm.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t piece_values = 32768, together = 64;

struct Pieces {
  Pieces(std::int64_t N, std::int64_t C)
      : N(N), C(C), rows(max_of<std::int64_t>(16, piece_values / C)), count(ceil_div(N, rows)) {}
  // f(piece, first row, number of rows), spread over threads; `work` of a value.
  template <class F>
  void each(std::int64_t work, F&& f) const {
    parallel_tasks(count, work * N * C, [&](std::int64_t i) { f(i, i * rows, min_of(rows, N - i * rows)); });
  }
  // f(begin, end) for blocks of channels.
  template <class F>
  void channels(F&& f) const {
    parallel_ranges(C, together, 8 * count * C, f);
  }
  std::int64_t N, C, rows, count;
};

// means and squares: [piece][C].
template <class T>
void piece_moments(const T* x, std::int64_t rows, std::int64_t C, double* means, double* squares) {
  const Scratch<T> scratch(3 * C);
  T* __restrict center = scratch.data(), * __restrict first = center + C, * __restrict second = first + C;
  for (std::int64_t c = 0; c < C; ++c) center[c] = first[c] = second[c] = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < C; ++c) center[c] += x[r * C + c];
  for (std::int64_t c = 0; c < C; ++c) center[c] /= static_cast<T>(rows);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < C; ++c) {
      const T gap = x[r * C + c] - center[c];
      first[c] += gap;
      second[c] += gap * gap;
    }
  const double count = static_cast<double>(rows);
  for (std::int64_t c = 0; c < C; ++c) {
    means[c] = center[c] + first[c] / count;
    squares[c] = second[c] - double{first[c]} * first[c] / count;
  }
}

template <class T>
void statistics(const BatchNormArgs& a, const Pieces& p) {
  const Scratch<double> scratch(a.training ? 2 * p.count * p.C : 1);
  double *means = scratch.data(), *squares = means + p.count * p.C;
  if (a.training)
    p.each(2, [&](std::int64_t i, std::int64_t row, std::int64_t rows) {
      piece_moments(static_cast<const T*>(a.x) + row * p.C, rows, p.C, means + i * p.C, squares + i * p.C);
    });
  p.channels([&](std::int64_t begin, std::int64_t end) {
    double mean[together], square[together], count = 0;
    for (std::int64_t k = 0; k < end - begin; ++k) mean[k] = square[k] = 0;
    for (std::int64_t i = 0; a.training && i < p.count; ++i) {
      const double more = static_cast<double>(min_of(p.rows, p.N - i * p.rows)), all = count + more;
      for (std::int64_t k = 0; k < end - begin; ++k) {
        const double gap = means[i * p.C + begin + k] - mean[k];
        mean[k] += gap * (more / all);
        square[k] += squares[i * p.C + begin + k] + gap * gap * (count * more / all);
      }
      count = all;
    }
    for (std::int64_t k = 0; k < end - begin; ++k)
      finish_channel<T>(a, begin + k, {count, mean[k], square[k]});
  });
}

// The maps of all channels, each part an array of its own: [3][C].
template <class T>
struct Maps {
  Maps(const void* means, const void* inv_stds, const void* gamma, const void* beta, std::int64_t C)
      : C(C), memory(3 * C) {
    for (std::int64_t c = 0; c < C; ++c) {
      const ChannelMap<T> map(means, inv_stds, gamma, beta, c);
      memory[c] = map.mean;
      memory[C + c] = map.scale;
      memory[2 * C + c] = map.shift;
    }
  }
  [[gnu::always_inline]] const T* mean() const { return memory.data(); }
  [[gnu::always_inline]] const T* scale() const { return memory.data() + C; }
  [[gnu::always_inline]] const T* shift() const { return memory.data() + 2 * C; }
  std::int64_t C;
  Scratch<T> memory;
};

template <class T, bool relu, bool residual>
void forward(const BatchNormArgs& a) {
  const Pieces p(a.N, a.C);
  statistics<T>(a, p);
  const Maps<T> maps(a.mean, a.inv_std, a.gamma, a.beta, a.C);
  p.each(1, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    const T *mean = maps.mean(), *scale = maps.scale(), *shift = maps.shift();
    for (std::int64_t r = row; r < row + rows; ++r) {
      const T* x = static_cast<const T*>(a.x) + r * p.C;
      const T* add = static_cast<const T*>(a.residual) + (residual ? r * p.C : 0);
      T* __restrict out = static_cast<T*>(a.out) + r * p.C;
      for (std::int64_t c = 0; c < p.C; ++c) {
        T v = (x[c] - mean[c]) * scale[c] + shift[c];
        if (residual) v += add[c];
        out[c] = relu && v <= 0 ? T(0) : v;
      }
    }
  });
}

template <class T>
void forward_of(const BatchNormArgs& a) {
  if (a.relu) return a.residual ? forward<T, true, true>(a) : forward<T, true, false>(a);
  return a.residual ? forward<T, false, true>(a) : forward<T, false, false>(a);
}

// sums: [2][C], of g and of g (x - mean) over some rows.
template <class T, Mask mask, bool keep>
void piece_sums(const BatchNormBackwardArgs& a, const Maps<T>& maps, std::int64_t row, std::int64_t rows,
                double* sums) {
  const std::int64_t C = a.C;
  const Scratch<T> scratch(2 * C);
  T* __restrict first = scratch.data(), * __restrict second = first + C;
  for (std::int64_t c = 0; c < 2 * C; ++c) first[c] = 0;
  const T *mean = maps.mean(), *scale = maps.scale(), *shift = maps.shift();
  for (std::int64_t r = row; r < row + rows; ++r) {
    const T *x = static_cast<const T*>(a.x) + r * C, *dout = static_cast<const T*>(a.dout) + r * C;
    const T* out = static_cast<const T*>(a.out) + (mask == Mask::by_output ? r * C : 0);
    T* __restrict kept = static_cast<T*>(a.dresidual) + (keep ? r * C : 0);
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) {
      T g = dout[c];
      if (mask == Mask::by_output) g = through_relu(g, out[c]);
      if (mask == Mask::by_input) g = through_relu(g, (x[c] - mean[c]) * scale[c] + shift[c]);
      first[c] += g;
      second[c] += g * (x[c] - mean[c]);
      if (keep) kept[c] = g;
    }
  }
  for (std::int64_t c = 0; c < 2 * C; ++c) sums[c] = first[c];
}

// dx = scale (g - first - (x - mean) second), first and second for each channel.
template <class T, Mask mask>
void piece_gradient(const BatchNormBackwardArgs& a, const Maps<T>& maps, const T* first, const T* second,
                    std::int64_t row, std::int64_t rows) {
  const std::int64_t C = a.C;
  const T *mean = maps.mean(), *scale = maps.scale(), *shift = maps.shift();
  for (std::int64_t r = row; r < row + rows; ++r) {
    const T *x = static_cast<const T*>(a.x) + r * C, *dout = static_cast<const T*>(a.dout) + r * C;
    const T* out = static_cast<const T*>(a.out) + (mask == Mask::by_output ? r * C : 0);
    T* __restrict dx = static_cast<T*>(a.dx) + r * C;
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) {
      T g = dout[c];
      if (mask == Mask::by_output) g = through_relu(g, out[c]);
      if (mask == Mask::by_input) g = through_relu(g, (x[c] - mean[c]) * scale[c] + shift[c]);
      dx[c] = scale[c] * (g - first[c] - (x[c] - mean[c]) * second[c]);
    }
  }
}

// Adds the pieces' sums up, in order: dbeta and dgamma, and what dx needs, [2][C].
template <class T>
void finish_sums(const BatchNormBackwardArgs& a, const Pieces& p, const double* sums, T* needed) {
  const double M = static_cast<double>(a.N);
  p.channels([&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      double first = 0, second = 0;
      for (std::int64_t i = 0; i < p.count; ++i) {
        first += sums[2 * i * p.C + c];
        second += sums[(2 * i + 1) * p.C + c];
      }
      const T inv_std = static_cast<const T*>(a.inv_std)[c];
      if (a.dbeta) static_cast<T*>(a.dbeta)[c] = static_cast<T>(first);
      if (a.dgamma) static_cast<T*>(a.dgamma)[c] = static_cast<T>(second * inv_std);
      needed[c] = static_cast<T>(a.training ? first / M : 0);
      needed[p.C + c] = static_cast<T>(a.training ? second / M * inv_std * inv_std : 0);
    }
  });
}

template <class T, Mask mask>
void backward(const BatchNormBackwardArgs& a) {
  const Pieces p(a.N, a.C);
  const Maps<T> maps(a.mean, a.inv_std, a.gamma, a.beta, a.C);
  const Scratch<double> sums(2 * p.count * p.C);
  const Scratch<T> needed(2 * p.C);
  p.each(2, [&](std::int64_t i, std::int64_t row, std::int64_t rows) {
    double* to = sums.data() + 2 * i * p.C;
    a.dresidual ? piece_sums<T, mask, true>(a, maps, row, rows, to)
                : piece_sums<T, mask, false>(a, maps, row, rows, to);
  });
  finish_sums<T>(a, p, sums.data(), needed.data());
  if (!a.dx) return;
  BatchNormBackwardArgs masked = a;  // the second sweep finds g where the first one stored it
  if (a.dresidual) masked.dout = a.dresidual;
  p.each(2, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    if (a.dresidual)
      piece_gradient<T, Mask::none>(masked, maps, needed.data(), needed.data() + p.C, row, rows);
    else
      piece_gradient<T, mask>(a, maps, needed.data(), needed.data() + p.C, row, rows);
  });
}

template <class T>
void backward_of(const BatchNormBackwardArgs& a) {
  if (!a.relu) return backward<T, Mask::none>(a);
  return a.out ? backward<T, Mask::by_output>(a) : backward<T, Mask::by_input>(a);
}

bool takes(std::int64_t N, std::int64_t C, std::int64_t L) { return N > 0 && C > 0 && L == 1; }

}  // namespace

bool batch_norm_rows_forward(const BatchNormArgs& a) {
  if (!takes(a.N, a.C, a.L)) return false;
  if (a.training && a.num_batches_tracked) *a.num_batches_tracked = counted_up(*a.num_batches_tracked);
  a.dtype == DType::float32 ? forward_of<float>(a) : forward_of<double>(a);
  return true;
}

bool batch_norm_rows_backward(const BatchNormBackwardArgs& a) {
  if (!takes(a.N, a.C, a.L)) return false;
  a.dtype == DType::float32 ? backward_of<float>(a) : backward_of<double>(a);
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
