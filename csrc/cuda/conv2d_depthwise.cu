// Depthwise convolution and its gradients, groups = C = K, of 3x3, 5x5 and 7x7 with stride 1 or 2 and no
// dilation, in float32.
//
//   out[n,c,p,q] = f(bias[c] + sum over r, s of
//                    x[n, c, p stride + r - pad_top, q stride + s - pad_left] weight[c,r,s])
//
// There is nothing to share between channels: 9 products for the 8 bytes of an element, so all three
// directions are bound by memory, and what matters is that loads are wide, many are in flight, and few
// instructions go beside them.
//
//   forward  a thread computes a strip of 4 rows and one column: each row of x is loaded once for the strip,
//            (3 stride + R) S loads for 4 outputs. Neighbouring threads have neighbouring columns, or with
//            channels last neighbouring channels, for 3x3 four in 16 bytes.
//   dx       stride 1: the same with the weight turned round. Stride 2: a thread computes 2 x 2 pixels, from
//            the ceil(R/2) x ceil(S/2) outputs that met them; which tap goes where is known when it is
//            compiled.
//   dw       blocks go over the strips of a channel and piece of the batch with R S sums per thread, which
//            are added within the block; a second launch adds the pieces in order.
//
// In forward and dx the padding is no zero that could meet an infinity: there, both factors are zero.
// Overlapping reads of neighbours hit the first-level cache: at 3x3, 4.5 loads per output of some 9 that it
// could serve at the memory's pace. Bytes: x and out once.
#include "cuda/conv2d.h"
#include "cuda/device/divisor.h"
#include "cuda/device/reduce.h"
#include "cuda/device/vec.h"
#include "cuda/sum_parts.h"

namespace weft::cuda {

namespace {

constexpr int block = 256, strip = 4;

// An image, gathered from and written to. In this order: behind the steps the sizes cost some kernels six
// registers a thread.
struct Shape {
  int channels, height, width;
  int n, c, h, w;  // as ImageSteps
};

struct Args {
  float* out;
  const float *x, *weight, *bias;
  Shape in, to;
  int pad_top, pad_left;
  std::int64_t threads;
  Divisor inner, columns, strips;  // channels or their packs; columns; strips of an image
  bool flip, relu;
};

// Which column, strip, channel and image a thread has.
struct Place {
  int n, c, strip, column;
};
template <int V, bool Last, class Args>
__device__ __forceinline__ Place place_of(const Args& a, int i) {
  Place at;
  if (Last) {
    i = a.inner.divide(i, at.c);
    at.c *= V;
    i = a.columns.divide(i, at.column);
    at.n = a.strips.divide(i, at.strip);
  } else {
    i = a.columns.divide(i, at.column);
    i = a.strips.divide(i, at.strip);
    at.n = a.inner.divide(i, at.c);
  }
  return at;
}

template <int V>
__device__ __forceinline__ Pack<float, V> load_or_zero(const float* from, bool valid) {
  if (valid) return load_pack<float, V>(from);
  return Pack<float, V>{};
}

// The filters of V channels: w[tap][v].
template <int Size, int V>
__device__ __forceinline__ void load_filter(float (&w)[Size * Size][V], const float* weight, int c,
                                            bool flip) {
#pragma unroll
  for (int v = 0; v < V; ++v)
#pragma unroll
    for (int t = 0; t < Size * Size; ++t)
      w[t][v] = weight[(c + v) * Size * Size + (flip ? Size * Size - 1 - t : t)];
}

template <int Size, int Stride, int V, bool Last>
__global__ void __launch_bounds__(block) strip_kernel(const __grid_constant__ Args a) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * block + threadIdx.x; i < a.threads;
       i += std::int64_t{gridDim.x} * block) {
    const Place at = place_of<V, Last>(a, static_cast<int>(i));
    float w[Size * Size][V], acc[strip][V];
    load_filter<Size, V>(w, a.weight, at.c, a.flip);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const float start = a.bias ? a.bias[at.c + v] : 0.f;
#pragma unroll
      for (int t = 0; t < strip; ++t) acc[t][v] = start;
    }
    const int p = at.strip * strip, h0 = p * Stride - a.pad_top, w0 = at.column * Stride - a.pad_left;
    const float* x = a.x + (at.n * a.in.n + at.c * a.in.c);
#pragma unroll
    for (int s = 0; s < Size; ++s)
      if (static_cast<unsigned>(w0 + s) >= static_cast<unsigned>(a.in.width))
#pragma unroll
        for (int r = 0; r < Size; ++r)
#pragma unroll
          for (int v = 0; v < V; ++v) w[r * Size + s][v] = 0;
#pragma unroll
    for (int row = 0; row < (strip - 1) * Stride + Size; ++row) {
      const int h = h0 + row;
      const bool inside = static_cast<unsigned>(h) < static_cast<unsigned>(a.in.height);
#pragma unroll
      for (int s = 0; s < Size; ++s) {
        const bool valid = inside && static_cast<unsigned>(w0 + s) < static_cast<unsigned>(a.in.width);
        const auto value = load_or_zero<V>(x + (h * a.in.h + (w0 + s) * a.in.w), valid);
#pragma unroll
        for (int t = 0; t < strip; ++t) {
          const int r = row - t * Stride;
          if (r < 0 || r >= Size) continue;
#pragma unroll
          for (int v = 0; v < V; ++v) acc[t][v] += value.v[v] * (inside ? w[r * Size + s][v] : 0.f);
        }
      }
    }
    float* out = a.out + (at.n * a.to.n + at.c * a.to.c + p * a.to.h + at.column * a.to.w);
#pragma unroll
    for (int t = 0; t < strip; ++t) {
      if (p + t >= a.to.height) break;
      Pack<float, V> y;
#pragma unroll
      for (int v = 0; v < V; ++v) y.v[v] = a.relu && acc[t][v] <= 0 ? 0.f : acc[t][v];
      store_pack(out + t * a.to.h, y);
    }
  }
}

// dx of stride 2: a thread has the pixels h + pad_top = 2 i, 2 i + 1 and w + pad_left = 2 j, 2 j + 1. in:
// dout.
template <int Size, int V, bool Last>
__global__ void __launch_bounds__(block) spread_kernel(const __grid_constant__ Args a) {
  constexpr int half = (Size + 1) / 2;
  for (std::int64_t e = std::int64_t{blockIdx.x} * block + threadIdx.x; e < a.threads;
       e += std::int64_t{gridDim.x} * block) {
    const Place at = place_of<V, Last>(a, static_cast<int>(e));
    const int i = at.strip + a.pad_top / 2, j = at.column + a.pad_left / 2;
    float w[Size * Size][V], acc[2][2][V] = {};
    load_filter<Size, V>(w, a.weight, at.c, false);
    const float* dout = a.x + (at.n * a.in.n + at.c * a.in.c);
#pragma unroll
    for (int up = 0; up < half; ++up)
#pragma unroll
      for (int left = 0; left < half; ++left) {
        const int p = i - up, q = j - left;
        const bool valid = static_cast<unsigned>(p) < static_cast<unsigned>(a.in.height) &&
                           static_cast<unsigned>(q) < static_cast<unsigned>(a.in.width);
        const auto value = load_or_zero<V>(dout + (p * a.in.h + q * a.in.w), valid);
#pragma unroll
        for (int b = 0; b < 4; ++b) {
          const int r = 2 * up + b / 2, s = 2 * left + b % 2;  // the tap that this output met the pixel with
          if (r >= Size || s >= Size) continue;
#pragma unroll
          for (int v = 0; v < V; ++v) acc[b / 2][b % 2][v] += value.v[v] * (valid ? w[r * Size + s][v] : 0.f);
        }
      }
    float* out = a.out + (at.n * a.to.n + at.c * a.to.c);
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      const int h = 2 * i + b / 2 - a.pad_top, column = 2 * j + b % 2 - a.pad_left;
      if (static_cast<unsigned>(h) >= static_cast<unsigned>(a.to.height) ||
          static_cast<unsigned>(column) >= static_cast<unsigned>(a.to.width))
        continue;
      Pack<float, V> y;
#pragma unroll
      for (int v = 0; v < V; ++v) y.v[v] = acc[b / 2][b % 2][v];
      store_pack(out + (h * a.to.h + column * a.to.w), y);
    }
  }
}

struct WeightArgs {
  float* partial;  // [piece][c][tap]
  const float *x, *dout;
  Shape in, to;
  int pad_top, pad_left, images, pieces, packs;  // packs: of channels
  Divisor columns, strips;
};

// sums[tap] += the products of dout's strip at (n, c, strip, column).
template <int Size, int Stride, int V>
__device__ __forceinline__ void add_strip(float (&sums)[Size * Size][V], const WeightArgs& a,
                                          const Place& at) {
  const int p = at.strip * strip, h0 = p * Stride - a.pad_top, w0 = at.column * Stride - a.pad_left;
  const float* dout = a.dout + (at.n * a.to.n + at.c * a.to.c + p * a.to.h + at.column * a.to.w);
  const float* x = a.x + (at.n * a.in.n + at.c * a.in.c);
  Pack<float, V> d[strip];
#pragma unroll
  for (int t = 0; t < strip; ++t) d[t] = load_or_zero<V>(dout + t * a.to.h, p + t < a.to.height);
#pragma unroll
  for (int row = 0; row < (strip - 1) * Stride + Size; ++row) {
    const int h = h0 + row;
    const bool inside = static_cast<unsigned>(h) < static_cast<unsigned>(a.in.height);
#pragma unroll
    for (int s = 0; s < Size; ++s) {
      const bool valid = inside && static_cast<unsigned>(w0 + s) < static_cast<unsigned>(a.in.width);
      const auto value = load_or_zero<V>(x + (h * a.in.h + (w0 + s) * a.in.w), valid);
#pragma unroll
      for (int t = 0; t < strip; ++t) {
        const int r = row - t * Stride;
        if (r < 0 || r >= Size) continue;
#pragma unroll
        for (int v = 0; v < V; ++v) sums[r * Size + s][v] += value.v[v] * d[t].v[v];
      }
    }
  }
}

// Row-major: a block has a channel and a piece of the images.
template <int Size, int Stride>
__global__ void __launch_bounds__(block) rows_weight_kernel(const __grid_constant__ WeightArgs a) {
  constexpr int warps = block / warp_size, taps = Size * Size;
  SHARED(float, shared, [warps][taps]);
  const int c = blockIdx.x % a.in.channels, piece = blockIdx.x / a.in.channels;
  const int each = (a.images + a.pieces - 1) / a.pieces, first = piece * each;
  const int images = a.images - first < each ? a.images - first : each;
  const int of_image = static_cast<int>(a.columns.value() * a.strips.value());
  float sums[taps][1] = {};
  for (int i = threadIdx.x; i < images * of_image; i += block) {
    Place at{0, c, 0, 0};
    at.n = first + a.strips.divide(a.columns.divide(i, at.column), at.strip);
    add_strip<Size, Stride, 1>(sums, a, at);
  }
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
#pragma unroll
  for (int t = 0; t < taps; ++t) {
    const float sum = warp_reduce<Sum<float>>(sums[t][0]);
    if (lane == 0) shared[warp][t] = sum;
  }
  __syncthreads();
  if (threadIdx.x < taps) {
    float sum = 0;
    for (int i = 0; i < warps; ++i) sum += shared[i][threadIdx.x];
    a.partial[(std::int64_t{piece} * a.in.channels + c) * taps + threadIdx.x] = sum;
  }
}

// Channels last: a block has 32 packs of channels and a piece of all strips of the batch, 8 at a time.
template <int Size, int Stride, int V>
__global__ void __launch_bounds__(block) columns_weight_kernel(const __grid_constant__ WeightArgs a) {
  constexpr int rows = block / warp_size, taps = Size * Size;
  SHARED(float, shared, [rows][V][warp_size]);
  const int groups = (a.packs + warp_size - 1) / warp_size;
  const int lane = threadIdx.x % warp_size, row = threadIdx.x / warp_size;
  const int pack = blockIdx.x % groups * warp_size + lane, piece = blockIdx.x / groups;
  const int all = a.images * static_cast<int>(a.columns.value() * a.strips.value());
  const int each = (all + a.pieces - 1) / a.pieces, end = (piece + 1) * each < all ? (piece + 1) * each : all;
  float sums[taps][V] = {};
  if (pack < a.packs)
    for (int i = piece * each + row; i < end; i += rows) {
      Place at{0, pack * V, 0, 0};
      at.n = a.strips.divide(a.columns.divide(i, at.column), at.strip);
      add_strip<Size, Stride, V>(sums, a, at);
    }
#pragma unroll
  for (int t = 0; t < taps; ++t) {
#pragma unroll
    for (int v = 0; v < V; ++v) shared[row][v][lane] = sums[t][v];
    __syncthreads();
    if (row < V && pack < a.packs) {
      float sum = 0;
#pragma unroll
      for (int i = 0; i < rows; ++i) sum += shared[i][row][lane];
      a.partial[(std::int64_t{piece} * a.in.channels + pack * V + row) * taps + t] = sum;
    }
    __syncthreads();
  }
}

Shape shape_of(bool last, std::int64_t channels, std::int64_t height, std::int64_t width) {
  const int c = static_cast<int>(channels), h = static_cast<int>(height), w = static_cast<int>(width);
  const ImageSteps<int> step = image_steps<int>(last, c, h, w);
  return {c, h, w, step.n, step.c, step.h, step.w};
}

bool takes(const Conv2dParams& p, DType dtype) {
  return conv2d_takes_implicit_gemm(p, dtype) && p.groups == p.C && p.groups == p.K && p.R == p.S &&
         (p.R == 3 || p.R == 5 || p.R == 7) && p.dilation_h == 1 && p.dilation_w == 1 &&
         p.stride_h == p.stride_w && p.stride_h <= 2;
}

bool by_4(const Conv2dParams& p, const void* a, const void* b) {
  return p.channels_last && p.C % 4 == 0 && p.R == 3 && aligned(a) && aligned(b);
}

// f<Size, Stride, V, Last>()
template <int Size, int Stride, class F>
void choose_order(bool last, bool four, const F& f) {
  if (!last) return f.template operator()<Size, Stride, 1, false>();
  if constexpr (Size == 3)
    if (four) return f.template operator()<Size, Stride, 4, true>();
  f.template operator()<Size, Stride, 1, true>();
}
template <int Size, class F>
void choose_stride(const Conv2dParams& p, std::int64_t stride, bool four, const F& f) {
  if (stride == 1) return choose_order<Size, 1>(p.channels_last, four, f);
  choose_order<Size, 2>(p.channels_last, four, f);
}
template <class F>
void choose(const Conv2dParams& p, std::int64_t stride, bool four, const F& f) {
  if (p.R == 3) return choose_stride<3>(p, stride, four, f);
  if (p.R == 5) return choose_stride<5>(p, stride, four, f);
  choose_stride<7>(p, stride, four, f);
}

// Threads of `rows` strips and `columns` columns per image and channel, or pack of channels.
void set_threads(Args& a, const Conv2dParams& p, std::int64_t rows, std::int64_t columns, bool four) {
  const std::int64_t packs = four ? p.C / 4 : p.C;
  a.inner = Divisor(packs);
  a.columns = Divisor(columns);
  a.strips = Divisor(rows);
  a.threads = p.N * packs * rows * columns;
}

void launch_strips(Stream& stream, const Conv2dParams& p, const Args& a, std::int64_t stride, bool four) {
  choose(p, stride, four, [&]<int Size, int Stride, int V, bool Last>() {
    launch_over<block>(stream, strip_kernel<Size, Stride, V, Last>, a.threads, a);
  });
}

}  // namespace

bool conv2d_depthwise_forward(Stream& stream, const Conv2dForwardArgs& c) {
  const Conv2dParams& p = c.p;
  if (!takes(p, c.dtype)) return false;
  const bool four = by_4(p, c.out, c.x);
  Args a{static_cast<float*>(c.out),
         static_cast<const float*>(c.x),
         static_cast<const float*>(c.weight),
         static_cast<const float*>(c.bias),
         shape_of(p.channels_last, p.C, p.H, p.W),
         shape_of(p.channels_last, p.K, p.P, p.Q),
         static_cast<int>(p.pad_top),
         static_cast<int>(p.pad_left),
         0,
         {},
         {},
         {},
         false,
         c.activation == Activation::relu};
  set_threads(a, p, ceil_div(p.P, strip), p.Q, four);
  launch_strips(stream, p, a, p.stride_h, four);
  return true;
}

bool conv2d_depthwise_backward_input(Stream& stream, const Conv2dBackwardInputArgs& c) {
  const Conv2dParams& p = c.p;
  if (!takes(p, c.dtype)) return false;
  const bool four = by_4(p, c.dx, c.dout);
  Args a{static_cast<float*>(c.dx),
         static_cast<const float*>(c.dout),
         static_cast<const float*>(c.weight),
         nullptr,
         shape_of(p.channels_last, p.K, p.P, p.Q),
         shape_of(p.channels_last, p.C, p.H, p.W),
         static_cast<int>(p.pad_top),
         static_cast<int>(p.pad_left),
         0,
         {},
         {},
         {},
         true,
         false};
  if (p.stride_h == 1) {
    a.pad_top = static_cast<int>(p.R - 1 - p.pad_top);
    a.pad_left = static_cast<int>(p.S - 1 - p.pad_left);
    set_threads(a, p, ceil_div(p.H, strip), p.W, four);
    launch_strips(stream, p, a, 1, four);
    return true;
  }
  // From the pair that holds h = 0 to the one that holds H - 1.
  set_threads(a, p, (p.H - 1 + p.pad_top) / 2 - p.pad_top / 2 + 1,
              (p.W - 1 + p.pad_left) / 2 - p.pad_left / 2 + 1, four);
  choose(p, 2, four, [&]<int Size, int Stride, int V, bool Last>() {
    if constexpr (Stride == 2) launch_over<block>(stream, spread_kernel<Size, V, Last>, a.threads, a);
  });
  return true;
}

bool conv2d_depthwise_backward_weight(Stream& stream, const Conv2dBackwardWeightArgs& c) {
  const Conv2dParams& p = c.p;
  if (!takes(p, c.dtype)) return false;
  const bool four = by_4(p, c.x, c.dout);
  const int packs = static_cast<int>(four ? p.C / 4 : p.C);
  const std::int64_t strips = ceil_div(p.P, strip), jobs = p.N * strips * p.Q;
  WeightArgs a{nullptr,
               static_cast<const float*>(c.x),
               static_cast<const float*>(c.dout),
               shape_of(p.channels_last, p.C, p.H, p.W),
               shape_of(p.channels_last, p.K, p.P, p.Q),
               static_cast<int>(p.pad_top),
               static_cast<int>(p.pad_left),
               static_cast<int>(p.N),
               1,
               packs,
               Divisor(p.Q),
               Divisor(strips)};
  // Enough blocks to fill the device some times over, each with some strips for every thread.
  const std::int64_t columns = p.channels_last ? ceil_div(packs, warp_size) : p.C;
  const std::int64_t wanted = ceil_div(std::int64_t{properties(stream).multiprocessors} * 8, columns);
  const std::int64_t most =
      p.channels_last ? ceil_div(jobs, block / warp_size * 4) : ceil_div(jobs, block * 2);
  std::int64_t pieces = wanted < most ? wanted : most;
  if (!p.channels_last && pieces > p.N) pieces = p.N;
  a.pieces = static_cast<int>(p.channels_last ? ceil_div(jobs, ceil_div(jobs, pieces))
                                              : ceil_div(p.N, ceil_div(p.N, pieces)));

  const std::int64_t count = p.C * p.R * p.S;
  const Workspace partial(stream,
                          static_cast<std::size_t>(a.pieces > 1 ? a.pieces * count : 0) * sizeof(float));
  auto* const dw = static_cast<float*>(c.dw);
  a.partial = a.pieces > 1 ? partial.data<float>() : dw;
  const dim3 grid(static_cast<unsigned>(columns * a.pieces));
  choose(p, p.stride_h, four, [&]<int Size, int Stride, int V, bool Last>() {
    if constexpr (Last)
      launch_grid<block>(stream, columns_weight_kernel<Size, Stride, V>, grid, a);
    else
      launch_grid<block>(stream, rows_weight_kernel<Size, Stride>, grid, a);
  });
  if (a.pieces > 1) sum_parts(stream, a.partial, count, a.pieces, StoreSum<float>{dw});
  return true;
}

}  // namespace weft::cuda
