// The gradients of convolution, ReLU and 2x2 max-pooling. At most one element in four of the convolution's
// output has a gradient, the winner of its window if ReLU let it pass: only the products of these are made.
//
// A live gradient g of output channel k at position (y, x) of the convolution means, for all taps and
// channels,
//
//   dw[k][r][s][c]          += g image[y + r][x + s][c]        (the padded image)
//   dimage[y + r][x + s][c] += g weight[k][r][s][c]
//
// With the channels last, and padded to Cp, the (s, c) of one r are one run of S Cp numbers. So both are the
// same small kernel: R runs of a few registers that collect, over a list of live gradients, g times R runs
// from memory. For dw the list goes over the positions of one k, for dx over the k of one window row; there
// the column within the window is part of the weights, which are kept twice, the second time one pixel to the
// right.
//
// Images are cut into groups that depend on the problem alone; the groups' dw and db are added in order.
#include "cpu/conv2d_relu_max_pool2d_sparse.h"

#include "cpu/conv2d_winograd/transpose.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

namespace {

#define WEFT_INLINE [[gnu::always_inline]] inline

constexpr std::int64_t scratch_limit = 768 * 1024;  // bytes for one image: it should stay in the L2 cache
constexpr int lanes = lanes_of<float>;
typedef std::int32_t Ints __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
typedef std::uint8_t Bytes __attribute__((vector_size(lanes), aligned(1), may_alias));
// Short runs take half a register: AVX-512 has registers of both widths.
template <bool narrow>
struct RunVec {
  typedef float type __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
};
#if defined(WEFT_ISA_avx512)
template <>
struct RunVec<true> {
  typedef float type __attribute__((vector_size(32), aligned(4), may_alias));
};
#endif
// Accumulators: what is left of the registers is for g.
constexpr int max_sums = vector_registers == 32 ? 25 : 12;
constexpr int max_runs = 7, max_vectors = 5;

std::int64_t round_up(std::int64_t n, std::int64_t to) { return ceil_div(n, to) * to; }

void zero(float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = 0;
}

// Live gradients: each a number and where the runs that it is multiplied with begin.
struct List {
  const float* gradient;
  const std::int32_t* offset;
  std::int64_t count;
};

// sums[r][v] += over the list gradient * from[offset + r from_pitch + v]: NR runs of NV vectors.
template <bool narrow, int NR, int NV>
void collect(const List& list, const float* from, std::int64_t from_pitch, float* sums,
             std::int64_t sums_pitch) {
  using V = typename RunVec<narrow>::type;
  constexpr int size = sizeof(V) / sizeof(float);
  // Few sums would wait for each other: then two gradients go side by side.
  constexpr int ways = NR * NV <= max_sums / 2 && NR * NV < 8 ? 2 : 1;
  V sum[ways][NR][NV] = {};
#pragma GCC unroll 8
  for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) sum[0][r][v] = *reinterpret_cast<const V*>(sums + r * sums_pitch + v * size);
  std::int64_t i = 0;
  for (; i + ways <= list.count; i += ways)
#pragma GCC unroll 2
    for (int w = 0; w < ways; ++w) {
      const V g = list.gradient[i + w] - V{};
      const float* run = from + list.offset[i + w];
#pragma GCC unroll 8
      for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v)
          sum[w][r][v] += g * *reinterpret_cast<const V*>(run + r * from_pitch + v * size);
    }
  if constexpr (ways == 2) {
    if (i < list.count) {
      const float* run = from + list.offset[i];
#pragma GCC unroll 8
      for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v)
          sum[0][r][v] += list.gradient[i] * *reinterpret_cast<const V*>(run + r * from_pitch + v * size);
    }
#pragma GCC unroll 8
    for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) sum[0][r][v] += sum[1][r][v];
  }
#pragma GCC unroll 8
  for (int r = 0; r < NR; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) *reinterpret_cast<V*>(sums + r * sums_pitch + v * size) = sum[0][r][v];
}

using Collect = void (*)(const List&, const float*, std::int64_t, float*, std::int64_t);
template <bool narrow, int NR, int NV>
constexpr Collect collect_or_null() {
  if constexpr (NR * NV <= max_sums)
    return collect<narrow, NR, NV>;
  else
    return nullptr;
}
template <bool narrow>
struct Table {
#define WEFT_ROW(NR)                 \
  {nullptr,                          \
   collect_or_null<narrow, NR, 1>(), \
   collect_or_null<narrow, NR, 2>(), \
   collect_or_null<narrow, NR, 3>(), \
   collect_or_null<narrow, NR, 4>(), \
   collect_or_null<narrow, NR, 5>()}
  static constexpr Collect entries[max_runs + 1][max_vectors + 1] = {
      {}, WEFT_ROW(1), WEFT_ROW(2), WEFT_ROW(3), WEFT_ROW(4), WEFT_ROW(5), WEFT_ROW(6), WEFT_ROW(7)};
#undef WEFT_ROW
};

// How R runs of a length are cut into blocks that the registers hold.
struct Runs {
  Runs(std::int64_t R, std::int64_t length) : R(R) {
    narrow = vector_bytes == 64 && length <= 8;
    size = narrow ? 8 : lanes;
    vectors = ceil_div(length, size);
    // Blocks of nearly equal width, and then as many runs as fit.
    const std::int64_t cuts = ceil_div(vectors, max_vectors);
    block_vectors = ceil_div(vectors, cuts);
    block_runs = min_of<std::int64_t>(max_runs, max_sums / block_vectors);
    block_runs = ceil_div(R, ceil_div(R, block_runs));
  }
  std::int64_t length() const { return vectors * size; }  // of a run, with its padding

  void collect(const List& list, const float* from, std::int64_t from_pitch, float* sums,
               std::int64_t sums_pitch) const {
    for (std::int64_t r = 0; r < R; r += block_runs)
      for (std::int64_t v = 0; v < vectors; v += block_vectors) {
        const std::int64_t nr = min_of(block_runs, R - r), nv = min_of(block_vectors, vectors - v);
        const Collect f = narrow ? Table<true>::entries[nr][nv] : Table<false>::entries[nr][nv];
        f(list, from + r * from_pitch + v * size, from_pitch, sums + r * sums_pitch + v * size, sums_pitch);
      }
  }

  std::int64_t R, size, vectors, block_vectors, block_runs;
  bool narrow;
};

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
        image(Hp * pitch + weight_runs.length() + image_runs.length()),
        // Eight channels are half of a wide register: a second copy of the image, shifted by a pixel, keeps
        // what begins at an odd column in whole cache lines too.
        copies(Cp == 8 && lanes == 16 ? 2 : 1),
        weights(p.K * p.R * weight_runs.length()),
        positions(pool.PP * pool.PQ) {}

  // Where the runs of window position (u, v) begin, from those of its window on.
  std::int64_t shift(std::int64_t u, std::int64_t v) const {
    return u * pitch + v * Cp + (copies == 2 && v ? image + 8 : 0);
  }

  const Conv2dParams& p;
  const PoolWindow& pool;
  std::int64_t Cp;
  Runs weight_runs, image_runs;
  std::int64_t Hp, pitch, image, copies;
  std::int64_t weights;  // elements of one group's dw
  std::int64_t positions;
};

// x (C,H,W) to the padded image with the channels last. What lies around stays zero.
void channels_last(const Plan& plan, const float* x, float* image) {
  const Conv2dParams& p = plan.p;
  for (std::int64_t c = 0; c < p.C; ++c)
    for (std::int64_t h = 0; h < p.H; ++h, x += p.W) {
      float* to = image + (h + p.pad_top) * plan.pitch + p.pad_left * plan.Cp + c;
      for (std::int64_t w = 0; w < p.W; ++w) to[w * plan.Cp] = x[w];
      if (plan.copies == 2) {
        to += plan.image + 8;
        for (std::int64_t w = 0; w < p.W; ++w) to[w * plan.Cp] = x[w];
      }
    }
}

// The way back, without the padding.
void channels_first(const Plan& plan, const float* image, float* x) {
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

// --- the live gradients ---

// The first `count` of a vector's numbers; 0 for the others.
WEFT_INLINE Vec load_some(const float* from, std::int64_t count) {
#if defined(WEFT_ISA_avx512)
  return __builtin_ia32_loadups512_mask(from, Vec{}, static_cast<unsigned short>((1u << count) - 1));
#else
  float some[lanes] = {};
  for (std::int64_t i = 0; i < count; ++i) some[i] = from[i];
  return load(some);
#endif
}
WEFT_INLINE Ints load_codes(const std::uint8_t* from, std::int64_t count) {
  Bytes bytes{};
  if (count >= lanes)
    bytes = *reinterpret_cast<const Bytes*>(from);
  else
#if defined(WEFT_ISA_avx512)
  {
    typedef char Chars __attribute__((vector_size(16)));
    bytes = __builtin_bit_cast(
        Bytes, __builtin_ia32_loaddquqi128_mask(reinterpret_cast<const char*>(from), Chars{},
                                                static_cast<unsigned short>((1u << count) - 1)));
  }
#else
    for (std::int64_t i = 0; i < count; ++i) bytes[i] = from[i];
#endif
  return __builtin_convertvector(bytes, Ints);
}

// Appends the lanes of g that are not 0, with their offsets; a NaN is not 0. Writes a whole vector.
WEFT_INLINE std::int64_t append(const Vec& g, const Ints& offset, float* gradient, std::int32_t* to) {
#if defined(WEFT_ISA_avx512)
  const auto live = __builtin_ia32_cmpps512_mask(g, Vec{}, 4 /* not equal, or unordered */, 0xffff, 4);
  store(gradient, __builtin_ia32_compresssf512_mask(g, Vec{}, live));
  *reinterpret_cast<Ints*>(to) = __builtin_ia32_compresssi512_mask(offset, Ints{}, live);
  return __builtin_popcount(live);
#else
  std::int64_t count = 0;
  for (int i = 0; i < lanes; ++i) {
    gradient[count] = g[i];
    to[count] = offset[i];
    count += !(g[i] == 0);
  }
  return count;
#endif
}

// What one thread works with.
struct Workspace {
  explicit Workspace(const Plan& plan)
      : row(round_up(plan.positions, lanes)),
        list(round_up(plan.p.K, lanes) + lanes),
        image(plan.copies * plan.image + 8),
        dimage(plan.image),
        passed(round_up(plan.p.K, lanes) * row),
        place(round_up(plan.p.K, lanes) * row),
        gradient(row + lanes),
        offset(row + lanes),
        list_gradient(2 * lanes * list),
        list_offset(2 * lanes * list) {}
  std::int64_t row, list;
  Scratch<float> image, dimage;
  Scratch<float> passed;        // [k][window]: the gradients that pass, else 0
  Scratch<std::int32_t> place;  // and the winners' places in their windows, 0 to 3
  Scratch<float> gradient;
  Scratch<std::int32_t> offset;
  Scratch<float> list_gradient;
  Scratch<std::int32_t> list_offset;
};

// The gradients of one image that pass their windows; their sum for each k is added to db. Returns whether
// all of them are finite.
bool pass_windows(const Plan& plan, const float* dout, const std::uint8_t* winner, const Workspace& w,
                  float* db) {
  const Vec nan = broadcast(__builtin_nanf("")), one = broadcast(1.0f);
  Vec all{};
  for (std::int64_t k = 0; k < plan.p.K; ++k, dout += plan.positions, winner += plan.positions) {
    Vec total{};
    for (std::int64_t o = 0; o < plan.positions; o += lanes) {
      const std::int64_t count = min_of<std::int64_t>(lanes, plan.positions - o);
      const Vec d = count == lanes ? load(dout + o) : load_some(dout + o, count);
      const Ints code = load_codes(winner + o, count);
      Vec slope = (code & winner_cut) != 0 ? Vec{} : one;
      slope = (code & winner_nan) != 0 ? nan : slope;
      const Vec g =
          (code & (winner_cut - 4)) != 0 ? Vec{} : d * slope;  // a place outside of the window: none
      total += g;
      store(w.passed.data() + k * w.row + o, g);
      *reinterpret_cast<Ints*>(w.place.data() + k * w.row + o) = code & 3;
    }
    float sum = 0;
    for (int i = 0; i < lanes; ++i) sum += total[i];
    db[k] += sum;
    all += total * 0.0f;
  }
  float sum = 0;
  for (int i = 0; i < lanes; ++i) sum += all[i];
  return sum == 0;
}

// dw of one image, added to sums [k][r][run]. windows: where each window's runs begin.
void add_weight_gradient(const Plan& plan, const std::int32_t* windows, const Workspace& w, float* sums) {
  const std::int64_t length = plan.weight_runs.length(), size = plan.p.R * length;
  const auto down = static_cast<std::int32_t>(plan.shift(1, 0)),
             right = static_cast<std::int32_t>(plan.shift(0, 1));
  for (std::int64_t k = 0; k < plan.p.K; ++k) {
    std::int64_t count = 0;
    for (std::int64_t o = 0; o < plan.positions; o += lanes) {
      const Ints place = *reinterpret_cast<const Ints*>(w.place.data() + k * w.row + o);
      const Ints offset =
          *reinterpret_cast<const Ints*>(windows + o) + (-(place & 1) & right) + (-(place >> 1) & down);
      count += append(load(w.passed.data() + k * w.row + o), offset, w.gradient.data() + count,
                      w.offset.data() + count);
    }
    plan.weight_runs.collect({w.gradient.data(), w.offset.data(), count}, w.image.data(), plan.pitch,
                             sums + k * size, length);
  }
}

// The lists of `lanes` windows from o on, two for each: the k whose winner is in its upper, in its lower row.
void lists_of_windows(const Plan& plan, std::int64_t o, const Workspace& w,
                      std::int64_t (&counts)[2 * lanes]) {
  const auto size = static_cast<std::int32_t>(plan.p.R * plan.image_runs.length());
  const auto right = static_cast<std::int32_t>(plan.p.K * size);
  for (int i = 0; i < 2 * lanes; ++i) counts[i] = 0;
  Ints first{};  // the weights of each lane's k
  for (int i = 0; i < lanes; ++i) first[i] = i * size;
  for (std::int64_t k = 0; k < plan.p.K; k += lanes, first += lanes * size) {
    Vec g[lanes], places[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      g[i] = load(w.passed.data() + (k + i) * w.row + o);
      places[i] = load(reinterpret_cast<const float*>(w.place.data()) + (k + i) * w.row + o);
    }
    transpose(g);
    transpose(places);
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      const Ints place = __builtin_bit_cast(Ints, places[i]), offset = first + (-(place & 1) & right);
      const Vec upper = place > 1 ? Vec{} : g[i], lower = place > 1 ? g[i] : Vec{};
      const std::int64_t a = 2 * i * w.list + counts[2 * i], b = (2 * i + 1) * w.list + counts[2 * i + 1];
      counts[2 * i] += append(upper, offset, w.list_gradient.data() + a, w.list_offset.data() + a);
      counts[2 * i + 1] += append(lower, offset, w.list_gradient.data() + b, w.list_offset.data() + b);
    }
  }
}

// dx of one image, with its padding and the channels last.
void image_gradient(const Plan& plan, const float* weights, const std::int32_t* corners, const Workspace& w) {
  const std::int64_t length = plan.image_runs.length();
  for (std::int64_t o = 0; o < plan.positions; o += lanes) {
    std::int64_t counts[2 * lanes];
    lists_of_windows(plan, o, w, counts);
    const std::int64_t windows = min_of<std::int64_t>(lanes, plan.positions - o);
    for (std::int64_t i = 0; i < 2 * windows; ++i)
      plan.image_runs.collect(
          {w.list_gradient.data() + i * w.list, w.list_offset.data() + i * w.list, counts[i]}, weights,
          length, w.dimage.data() + corners[o + i / 2] + i % 2 * plan.pitch, plan.pitch);
  }
}

// The same for gradients that are not all finite: times the zeros around the weights they would make NaN.
void image_gradient_of_taps(const Plan& plan, const float* weight, const std::int32_t* corners,
                            const Workspace& w) {
  const Conv2dParams& p = plan.p;
  for (std::int64_t k = 0; k < p.K; ++k)
    for (std::int64_t o = 0; o < plan.positions; ++o) {
      const float g = w.passed[k * w.row + o];
      if (g == 0) continue;
      const std::int64_t place = w.place[k * w.row + o];
      float* to = w.dimage.data() + corners[o] + (place >> 1) * plan.pitch + (place & 1) * plan.Cp;
      for (std::int64_t c = 0; c < p.C; ++c)
        for (std::int64_t r = 0; r < p.R; ++r)
          for (std::int64_t s = 0; s < p.S; ++s)
            to[r * plan.pitch + s * plan.Cp + c] += g * weight[((k * p.C + c) * p.R + r) * p.S + s];
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

// Adds the groups in order: dw and db lie one behind the other in `partial`.
void add_groups(const float* partial, std::int64_t groups, std::int64_t stride, std::int64_t count,
                float* out) {
  if (!out) return;
  for (std::int64_t i = 0; i < count; ++i) out[i] = partial[i];
  for (std::int64_t g = 1; g < groups; ++g)
    for (std::int64_t i = 0; i < count; ++i) out[i] += partial[g * stride + i];
}

bool takes(const Conv2dReluMaxPool2dBackwardArgs& a) {
  const Conv2dParams& p = a.p;
  return a.dtype == DType::float32 && p.groups == 1 && p.stride_h == 1 && p.stride_w == 1 &&
         p.dilation_h == 1 && p.dilation_w == 1 && a.pool.h == 2 && a.pool.w == 2 && p.N > 0 && p.C > 0 &&
         p.K > 0;
}

// One image: dw and db added to sums ([k][r][run], then [k]), dx stored.
void one_image(const Plan& plan, const Conv2dReluMaxPool2dBackwardArgs& a, std::int64_t n,
               const float* weights, const std::int32_t* corners, const Workspace& w, float* sums) {
  const Conv2dParams& p = plan.p;
  const std::int64_t image = n * p.C * p.H * p.W, outs = n * p.K * plan.positions;
  const bool finite =
      pass_windows(plan, static_cast<const float*>(a.dout) + outs, a.winner + outs, w, sums + plan.weights);
  if (a.dw) {
    channels_last(plan, static_cast<const float*>(a.x) + image, w.image.data());
    add_weight_gradient(plan, corners, w, sums);
  }
  if (!a.dx) return;
  zero(w.dimage.data(), plan.image);
  if (finite)
    image_gradient(plan, weights, corners, w);
  else
    image_gradient_of_taps(plan, static_cast<const float*>(a.weight), corners, w);
  channels_first(plan, w.dimage.data(), static_cast<float*>(a.dx) + image);
}

}  // namespace

bool conv2d_relu_max_pool2d_sparse(const Conv2dReluMaxPool2dBackwardArgs& a) {
  if (!takes(a)) return false;
  const Plan plan(a);
  const Conv2dParams& p = plan.p;
  const std::int64_t taps = p.C * p.R * p.S, packed = a.dx ? 2 * p.K * p.R * plan.image_runs.length() : 0;
  if (4 * ((plan.copies + 1) * plan.image + packed + plan.weights + 2 * p.K * plan.positions) > scratch_limit)
    return false;
  const Scratch<float> weights(packed);
  if (a.dx) pack_weights(plan, static_cast<const float*>(a.weight), weights.data());
  const Scratch<std::int32_t> corners(round_up(plan.positions, lanes));  // of the windows in the image
  for (std::int64_t o = 0; o < plan.positions; ++o)
    corners[o] =
        static_cast<std::int32_t>(o / plan.pool.PQ * 2 * plan.pitch + o % plan.pool.PQ * 2 * plan.Cp);
  const std::int64_t groups = min_of<std::int64_t>(p.N, 16), stride = p.K * taps + p.K;
  const Scratch<float> partial(groups * stride);
  const std::int64_t work = p.N * p.K * plan.positions * taps / 8;
  parallel_tasks(groups, work, [&](std::int64_t group) {
    const Workspace w(plan);
    const Scratch<float> sums(plan.weights + p.K);
    zero(w.image.data(), plan.copies * plan.image + 8);
    zero(sums.data(), plan.weights + p.K);
    zero(w.passed.data(), round_up(p.K, lanes) * w.row);
    for (std::int64_t n = group * p.N / groups; n < (group + 1) * p.N / groups; ++n)
      one_image(plan, a, n, weights.data(), corners.data(), w, sums.data());
    float* own = partial.data() + group * stride;
    if (a.dw) unpack_weights(plan, sums.data(), own);
    for (std::int64_t k = 0; k < p.K; ++k) own[p.K * taps + k] = sums[plan.weights + k];
  });
  add_groups(partial.data(), groups, stride, p.K * taps, static_cast<float*>(a.dw));
  add_groups(partial.data() + p.K * taps, groups, stride, p.K, static_cast<float*>(a.db));
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
