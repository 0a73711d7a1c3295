// Convolution with many channels, any stride: a matrix product over windows of padded planes.
//
//   out[k][pos]     = sum over (c, tap) of weight[k][(c, tap)] window[(c, tap)][pos]
//   dw[k][(c, tap)] = sum over pos of dout[k][pos] window[(c, tap)][pos]
//   dx              for each phase of the stride the pixels of that phase are a convolution with stride 1 of
//                   dout with the taps that reach them
//
// window[(c, tap)][pos] is what the tap meets at an output position. It is never written down as a whole: the
// images lie in padded planes, one for each phase of the stride (conv2d_windows/planes.h), and one panel of
// the product at a time is packed from them, by a load and a shuffle for each vector of positions. Positions
// run through all images, so that small images fill the vectors too. float32, one group. The method is the
// implicit matrix product of Chetlur et al., "cuDNN: efficient primitives for deep learning", 2014.
#include "cpu/conv2d_windows.h"

#include "cpu/conv2d_gradient.h"
#include "cpu/conv2d_windows/planes.h"
#include "cpu/gemm/problem.h"

namespace weft::cpu::WEFT_ISA {

namespace {

using Vec = VecOf<float>::type;
constexpr std::int64_t L = lanes_of<float>, MR = Tile<float>::MR, NR = Tile<float>::NR;
constexpr std::int64_t slice = 512;

bool takes(const Conv2dParams& p, DType dtype) {
  return dtype == DType::float32 && p.groups == 1 && p.C >= 16 && p.K >= 16 && p.R * p.S <= most_taps &&
         p.stride_h * p.stride_w <= most_phases;
}

// f(first, count) for chunks of images: as many as fill a few panels, or more if their `numbers` fit the L2
// cache. A thread each, or one after the other with all threads where they do not come out even.
template <class F>
void for_chunks(std::int64_t images, std::int64_t numbers, std::int64_t positions, std::int64_t work, F&& f) {
  constexpr std::int64_t cached = 192 * 1024;
  const std::int64_t fit = cached / max_of<std::int64_t>(1, numbers), wanted = ceil_div(12 * NR, positions);
  const std::int64_t size = min_of(images, max_of(fit, wanted));
  const std::int64_t chunks = ceil_div(images, size), threads = threads_for(work);
  const auto chunk = [&](std::int64_t i) { f(i * size, min_of(size, images - i * size)); };
  if (threads > 1 && (chunks % threads == 0 || chunks >= 4 * threads))
    parallel_tasks(chunks, threads * 16384, chunk);
  else
    for (std::int64_t i = 0; i < chunks; ++i) chunk(i);
}

// The planes of `images` images and `channels` channels of the input for the taps of the kernel.
Planes input_planes(const Conv2dParams& p, std::int64_t images, std::int64_t channels) {
  Planes f{};
  f.images = images;
  f.channels = channels;
  f.height = p.H;
  f.width = p.W;
  f.h.stride = p.stride_h;
  f.w.stride = p.stride_w;
  for (std::int64_t r = 0; r < p.R; ++r) f.h.add(r * p.dilation_h - p.pad_top);
  for (std::int64_t s = 0; s < p.S; ++s) f.w.add(s * p.dilation_w - p.pad_left);
  f.h.close(p.P);
  f.w.close(p.Q);
  f.close();
  return f;
}

// out[n][m][P Q] = weight[m][(channel, tap)] window + bias, relu.
struct Correlation {
  const Planes& f;
  const float* planes;
  std::int64_t taps;
  const std::int64_t* offset;  // of each tap
  std::int64_t P, Q, M;
  const float* weight;
  float* out;
  const float* bias;
  bool relu;
};

// A panel of positions, and where its tiles go: into an image, or apart where it lies in two.
struct Panel {
  Window low, high;
  std::int64_t first, columns;
  bool wide, one_image;
  Problem<float> to;
};

Panel panel_at(const Correlation& g, std::int64_t first, float* apart) {
  const std::int64_t plane = g.P * g.Q, n = first / plane;
  Panel p;
  p.first = first;
  p.columns = min_of(NR, g.f.images * plane - first);
  p.wide = p.columns > L;
  p.one_image = first + p.columns <= (n + 1) * plane;
  p.low = Window(g.f, g.P, g.Q, first, min_of(L, p.columns));
  if (p.wide) p.high = Window(g.f, g.P, g.Q, first + L, p.columns - L);
  p.to = {};
  p.to.alpha = 1;
  p.to.bias = g.bias;
  p.to.axis = BiasAxis::row;
  p.to.relu = g.relu;
  p.to.c = p.one_image ? g.out + n * g.M * plane + (first - n * plane) : apart;
  p.to.c_row = p.one_image ? plane : NR;
  return p;
}

// to[k][0..NR] for the panel's positions and k0 <= k < k0 + k of (channel, tap).
void pack_windows(const Correlation& g, const Panel& p, std::int64_t k0, std::int64_t k, float* to) {
  const std::int64_t taps = g.taps, step = p.wide ? NR : L;
  std::int64_t channel = k0 / taps, tap = k0 % taps;
  for (std::int64_t i = 0; i < k; ++i, to += step) {
    const float* from = g.planes + channel * g.f.channel() + g.offset[tap];
    *reinterpret_cast<Vec*>(to) = p.low.load(from);
    if (p.wide) *reinterpret_cast<Vec*>(to + L) = p.high.load(from);
    if (++tap == taps) {
      tap = 0;
      ++channel;
    }
  }
}

constexpr std::int64_t group = 4;  // panels that share a pass over the weight: 256 KiB of windows

// Rows m0..m1 of `count` panels from the position `first` on. buffer: `group` times NR (slice + M) numbers.
void correlate_group(const Correlation& g, std::int64_t first, std::int64_t count, std::int64_t m0,
                     std::int64_t m1, float* buffer) {
  const std::int64_t plane = g.P * g.Q, K = g.f.channels * g.taps, tiles = ceil_div(m1 - m0, MR);
  const Slices slices(K, slice);
  Panel panels[group];
  for (std::int64_t j = 0; j < count; ++j)
    panels[j] = panel_at(g, first + j * NR, buffer + NR * (group * slice + j * g.M));
  for (std::int64_t s = 0; s < slices.count; ++s) {
    const std::int64_t k0 = s * slices.length, k = min_of(slices.length, K - k0);
    for (std::int64_t j = 0; j < count; ++j) pack_windows(g, panels[j], k0, k, buffer + j * slice * NR);
    for (std::int64_t i = 0; i < tiles; ++i) {
      const std::int64_t m = m0 + (m1 - m0) * i / tiles, rows = m0 + (m1 - m0) * (i + 1) / tiles - m;
      for (std::int64_t j = 0; j < count; ++j)
        tile<float>(panels[j].to, k, g.weight + m * K + k0, K, 1, buffer + j * slice * NR,
                    panels[j].wide ? NR : L, m, 0, static_cast<int>(rows), panels[j].columns,
                    {s == 0, s + 1 == slices.count});
    }
  }
  for (std::int64_t j = 0; j < count; ++j) {
    const Panel& p = panels[j];
    if (p.one_image) continue;
    for (std::int64_t m = m0; m < m1; ++m)
      for (std::int64_t i = 0; i < p.columns; ++i) {
        const std::int64_t image = (p.first + i) / plane;
        g.out[(image * g.M + m) * plane + (p.first + i - image * plane)] = p.to.c[m * NR + i];
      }
  }
}

void correlate(const Correlation& g) {
  const std::int64_t panels = ceil_div(g.f.images * g.P * g.Q, NR);
  const std::int64_t work = g.f.images * g.P * g.Q * g.M * g.f.channels * g.taps, threads = threads_for(work);
  const Grid grid(ceil_div(g.M, MR), panels, threads);
  parallel_tasks(grid.count(), threads * 16384, [&](std::int64_t piece) {
    const std::int64_t i = piece / grid.n, j = piece % grid.n, end = panels * (j + 1) / grid.n;
    const Scratch<float> buffer(group * NR * (slice + g.M));
    for (std::int64_t panel = panels * j / grid.n; panel < end; panel += group)
      correlate_group(g, panel * NR, min_of(group, end - panel), g.M * i / grid.m, g.M * (i + 1) / grid.m,
                      buffer.data());
  });
}

// dout's planes for dx: row i of phase a of the stride, the pixels i stride + a, meets tap r at dout's row
// i + (a + pad - r dilation) / stride, if that is a whole number.
struct Backward {
  Backward(const Conv2dParams& params, std::int64_t images)
      : p(params), rows(ceil_div(p.H, p.stride_h)), columns(ceil_div(p.W, p.stride_w)) {
    f.images = images;
    f.channels = p.K;
    f.height = p.P;
    f.width = p.Q;
    f.h.stride = f.w.stride = 1;
    for (std::int64_t a = 0; a < p.stride_h; ++a)
      for (std::int64_t r = 0; r < p.R; ++r)
        if (meets(a + p.pad_top - r * p.dilation_h, p.stride_h))
          f.h.add((a + p.pad_top - r * p.dilation_h) / p.stride_h);
    for (std::int64_t b = 0; b < p.stride_w; ++b)
      for (std::int64_t s = 0; s < p.S; ++s)
        if (meets(b + p.pad_left - s * p.dilation_w, p.stride_w))
          f.w.add((b + p.pad_left - s * p.dilation_w) / p.stride_w);
    f.h.close(rows);
    f.w.close(columns);
    f.phases = 1;
  }
  static bool meets(std::int64_t u, std::int64_t stride) { return u % stride == 0; }

  // The taps of phase (a, b): their places in a filter and in the planes. Returns how many.
  std::int64_t taps(std::int64_t phase, std::int64_t* place, std::int64_t* offset) const {
    const std::int64_t a = phase / p.stride_w, b = phase % p.stride_w;
    std::int64_t count = 0;
    for (std::int64_t r = 0; r < p.R; ++r)
      for (std::int64_t s = 0; s < p.S; ++s) {
        const std::int64_t u = a + p.pad_top - r * p.dilation_h, v = b + p.pad_left - s * p.dilation_w;
        if (!meets(u, p.stride_h) || !meets(v, p.stride_w)) continue;
        place[count] = r * p.S + s;
        offset[count++] = (u / p.stride_h - f.h.low) * f.pitch() + v / p.stride_w - f.w.low;
      }
    return count;
  }

  const Conv2dParams& p;
  std::int64_t rows, columns;  // of a phase
  Planes f{};
};

// to[c][(k, tap)] for the taps at `place`. Neighbouring channels together: a filter is shorter than a cache
// line.
void turn_weight(const Conv2dParams& p, std::int64_t taps, const std::int64_t* place, const float* weight,
                 float* to) {
  constexpr std::int64_t together = 16;
  parallel_ranges(p.C, together, p.C * p.K * taps * 2, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = 0; k < p.K; ++k)
      for (std::int64_t c = begin; c < end; ++c) {
        const float* from = weight + (k * p.C + c) * p.R * p.S;
        float* row = to + (c * p.K + k) * taps;
        for (std::int64_t t = 0; t < taps; ++t) row[t] = from[place[t]];
      }
  });
}

// dx[h] = the phases' rows: pixel w is number w / stride of the phase w % stride.
void join_row(const Conv2dParams& p, const float* const* phases, float* to) {
  using Vec = VecOf<float>::type;
  std::int64_t w = 0;
  if (p.stride_w == 2)
    for (; w + 2 * L <= p.W; w += 2 * L) {
      const Vec even = *reinterpret_cast<const Vec*>(phases[0] + w / 2);
      const Vec odd = *reinterpret_cast<const Vec*>(phases[1] + w / 2);
      *reinterpret_cast<Vec*>(to + w) = interleave<float>(even, odd, 0);
      *reinterpret_cast<Vec*>(to + w + L) = interleave<float>(even, odd, 1);
    }
  for (std::int64_t b = 0; b < p.stride_w; ++b)
    for (std::int64_t i = ceil_div(w - b, p.stride_w); i * p.stride_w + b < p.W; ++i)
      to[i * p.stride_w + b] = phases[b][i];
}

// dx of the images that dout and dx begin with. weight: turned, one phase after the other.
void backward_images(const Backward& g, const float* weight, const float* dout, float* dx) {
  const Conv2dParams& p = g.p;
  const std::int64_t images = g.f.images, phases = p.stride_h * p.stride_w, size = p.C * g.rows * g.columns;
  const Scratch<float> planes(g.f.size()), results(phases > 1 ? phases * images * size : 0);
  fill_planes(g.f, dout, p.K * p.P * p.Q, planes.data());
  for (std::int64_t i = 0; i < phases; ++i) {
    std::int64_t place[most_taps], offset[most_taps];
    const std::int64_t taps = g.taps(i, place, offset);
    float* to = phases > 1 ? results.data() + i * images * size : dx;
    if (taps > 0)
      correlate({g.f, planes.data(), taps, offset, g.rows, g.columns, p.C, weight, to, nullptr, false});
    else
      for (std::int64_t j = 0; j < images * size; ++j) to[j] = 0;
    weight += p.C * p.K * taps;
  }
  if (phases == 1) return;
  parallel_tasks(images * p.C, images * p.C * p.H * p.W, [&](std::int64_t i) {
    for (std::int64_t h = 0; h < p.H; ++h) {
      const float* row[most_phases];
      for (std::int64_t b = 0; b < p.stride_w; ++b)
        row[b] = results.data() + (h % p.stride_h * p.stride_w + b) * images * size +
                 (i * g.rows + h / p.stride_h) * g.columns;
      join_row(p, row, dx + (i * p.H + h) * p.W);
    }
  });
}

// to[pos][0..NR]: what the (channel, tap) from `first` on meet at the positions of `windows`.
void pack_taps(const Planes& f, const float* planes, std::int64_t first, std::int64_t columns,
               const Window* windows, std::int64_t positions, float* to) {
  const std::int64_t step = columns > L ? NR : L;
  for (std::int64_t half = 0; half < step; half += L) {
    const float* from[L];
    for (std::int64_t l = 0; l < L; ++l) {
      const std::int64_t i = min_of(first + half + l, first + columns - 1);
      from[l] = planes + i / f.taps * f.channel() + f.offset[i % f.taps];
    }
    for (std::int64_t pos = 0; pos < positions; pos += L) {
      Vec r[L];
#pragma GCC unroll 16
      for (std::int64_t l = 0; l < L; ++l) r[l] = windows[pos / L].load(from[l]);
      transpose<float>(r);
      const std::int64_t count = min_of(L, positions - pos);
      for (std::int64_t l = 0; l < count; ++l) *reinterpret_cast<Vec*>(to + (pos + l) * step + half) = r[l];
    }
  }
}

// dw[k][(c, tap)] of one image and the channels of f, added to (or, with add = false, written to) `sums`.
void add_image(const Conv2dBackwardWeightArgs& a, const Planes& f, const float* planes, const float* dout,
               bool add, float* sums, float* buffer) {
  const Conv2dParams& p = a.p;
  const std::int64_t plane = p.P * p.Q, columns = f.channels * f.taps, tiles = ceil_div(p.K, MR);
  const Slices slices(plane, slice);
  Problem<float> t{};
  t.alpha = 1;
  t.c_row = p.C * f.taps;
  for (std::int64_t s = 0; s < slices.count; ++s) {
    const std::int64_t k0 = s * slices.length, k = min_of(slices.length, plane - k0);
    Window windows[slice / L];
    for (std::int64_t i = 0; i < k; i += L) windows[i / L] = Window(f, p.P, p.Q, k0 + i, min_of(L, k - i));
    for (std::int64_t n = 0; n < columns; n += NR) {
      const std::int64_t width = min_of(NR, columns - n);
      pack_taps(f, planes, n, width, windows, k, buffer);
      t.c = sums + n;
      for (std::int64_t i = 0; i < tiles; ++i) {
        const std::int64_t m = p.K * i / tiles, rows = p.K * (i + 1) / tiles - m;
        tile<float>(t, k, dout + m * plane + k0, plane, 1, buffer, width > L ? NR : L, m, 0,
                    static_cast<int>(rows), width, {s == 0 && !add, true});
      }
    }
  }
}

}  // namespace

bool conv2d_windows_forward(const Conv2dForwardArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype) || p.R * p.S == 1) return false;
  const std::int64_t work = p.N * p.K * p.P * p.Q * p.C * p.R * p.S;
  for_chunks(
      p.N, input_planes(p, 1, p.C).image(), p.P * p.Q, work, [&](std::int64_t first, std::int64_t images) {
        const Planes f = input_planes(p, images, p.C);
        const Scratch<float> planes(f.size());
        fill_planes(f, static_cast<const float*>(a.x) + first * p.C * p.H * p.W, p.C * p.H * p.W,
                    planes.data());
        correlate({f, planes.data(), f.taps, f.offset, p.P, p.Q, p.K, static_cast<const float*>(a.weight),
                   static_cast<float*>(a.out) + first * p.K * p.P * p.Q, static_cast<const float*>(a.bias),
                   a.activation == Activation::relu});
      });
  return true;
}

bool conv2d_windows_backward_input(const Conv2dBackwardInputArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype) || p.R * p.S == 1) return false;
  const std::int64_t work = p.N * p.K * p.P * p.Q * p.C * p.R * p.S;
  // Each tap belongs to one phase at most, so the turned weights of all phases fill one copy of the weight.
  const Scratch<float> turned(p.K * p.C * p.R * p.S);
  const Backward one(p, 1);
  if (one.f.h.count == 0 || one.f.w.count == 0) return false;
  float* to = turned.data();
  for (std::int64_t i = 0; i < p.stride_h * p.stride_w; ++i) {
    std::int64_t place[most_taps], offset[most_taps];
    const std::int64_t taps = one.taps(i, place, offset);
    turn_weight(p, taps, place, static_cast<const float*>(a.weight), to);
    to += p.C * p.K * taps;
  }
  for_chunks(p.N, one.f.image() + p.C * p.H * p.W, one.rows * one.columns, work,
             [&](std::int64_t first, std::int64_t images) {
               backward_images(Backward(p, images), turned.data(),
                               static_cast<const float*>(a.dout) + first * p.K * p.P * p.Q,
                               static_cast<float*>(a.dx) + first * p.C * p.H * p.W);
             });
  return true;
}

bool conv2d_windows_backward_weight(const Conv2dBackwardWeightArgs& a) {
  const Conv2dParams& p = a.p;
  if (!takes(p, a.dtype) || p.R * p.S * p.stride_h * p.stride_w == 1) return false;
  const GradientCut cut(p);
  const std::int64_t weights = p.K * p.C * p.R * p.S, plane = p.P * p.Q;
  const Scratch<float> partial(cut.groups > 1 ? cut.groups * weights : 0);
  parallel_tasks(cut.groups * cut.blocks, p.N * plane * weights / 8, [&](std::int64_t task) {
    const std::int64_t c0 = task % cut.blocks * cut.channels, count = min_of(cut.channels, p.C - c0);
    const std::int64_t images = task / cut.blocks;
    const Planes f = input_planes(p, 1, count);
    const Scratch<float> planes(f.size()), buffer(slice * NR);
    float* sums =
        (cut.groups > 1 ? partial.data() + images * weights : static_cast<float*>(a.dw)) + c0 * p.R * p.S;
    const std::int64_t first = p.N * images / cut.groups, last = p.N * (images + 1) / cut.groups;
    for (std::int64_t n = first; n < last; ++n) {
      fill_planes(f, static_cast<const float*>(a.x) + (n * p.C + c0) * p.H * p.W, 0, planes.data());
      add_image(a, f, planes.data(), static_cast<const float*>(a.dout) + n * p.K * plane, n > first, sums,
                buffer.data());
    }
  });
  if (a.db) conv2d_sum_bias<float>(a);
  if (cut.groups > 1)
    conv2d_sum_groups<float>(partial.data(), cut.groups, weights, static_cast<float*>(a.dw));
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
