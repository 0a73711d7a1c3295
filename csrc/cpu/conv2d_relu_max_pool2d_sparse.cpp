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
#include "cpu/simd/some.h"

namespace weft::cpu::WEFT_ISA {

namespace {

#define WEFT_INLINE [[gnu::always_inline]] inline

constexpr std::int64_t scratch_limit = 768 * 1024;  // bytes for one image: it should stay in the L2 cache
constexpr std::int64_t batch_limit = 28 * 1024;     // bytes of the images that are listed together: L1
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
      for (int r = 0; r < NR; ++r, run += from_pitch)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) sum[w][r][v] += g * *reinterpret_cast<const V*>(run + v * size);
    }
  if constexpr (ways == 2) {
    if (i < list.count) {
      const float* run = from + list.offset[i];
#pragma GCC unroll 8
      for (int r = 0; r < NR; ++r, run += from_pitch)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v)
          sum[0][r][v] += list.gradient[i] * *reinterpret_cast<const V*>(run + v * size);
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

// The same for two lists, the second of which is for the runs one further down: NR + 1 runs in all.
template <bool narrow, int NR, int NV>
void collect_pair(const List& upper, const List& lower, const float* from, std::int64_t from_pitch,
                  float* sums, std::int64_t sums_pitch) {
  using V = typename RunVec<narrow>::type;
  constexpr int size = sizeof(V) / sizeof(float);
  V sum[NR + 1][NV];
  float* to = sums;
#pragma GCC unroll 8
  for (int r = 0; r <= NR; ++r, to += sums_pitch)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) sum[r][v] = *reinterpret_cast<const V*>(to + v * size);
  for (std::int64_t i = 0; i < upper.count; ++i) {
    const V g = upper.gradient[i] - V{};
    const float* run = from + upper.offset[i];
#pragma GCC unroll 8
    for (int r = 0; r < NR; ++r, run += from_pitch)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) sum[r][v] += g * *reinterpret_cast<const V*>(run + v * size);
  }
  for (std::int64_t i = 0; i < lower.count; ++i) {
    const V g = lower.gradient[i] - V{};
    const float* run = from + lower.offset[i];
#pragma GCC unroll 8
    for (int r = 0; r < NR; ++r, run += from_pitch)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) sum[r + 1][v] += g * *reinterpret_cast<const V*>(run + v * size);
  }
  to = sums;
#pragma GCC unroll 8
  for (int r = 0; r <= NR; ++r, to += sums_pitch)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) *reinterpret_cast<V*>(to + v * size) = sum[r][v];
}

using Collect = void (*)(const List&, const float*, std::int64_t, float*, std::int64_t);
template <bool narrow, int NR, int NV>
constexpr Collect collect_or_null() {
  if constexpr (NR * NV <= max_sums)
    return collect<narrow, NR, NV>;
  else
    return nullptr;
}
using CollectPair = void (*)(const List&, const List&, const float*, std::int64_t, float*, std::int64_t);
template <bool narrow, int NR, int NV>
constexpr CollectPair pair_or_null() {
  if constexpr ((NR + 1) * NV <= max_sums)
    return collect_pair<narrow, NR, NV>;
  else
    return nullptr;
}
template <bool narrow>
struct Table {
#define WEFT_ROW(f, NR)                                                                               \
  {nullptr,           f<narrow, NR, 1>(), f<narrow, NR, 2>(), f<narrow, NR, 3>(), f<narrow, NR, 4>(), \
   f<narrow, NR, 5>()}
#define WEFT_ROWS(f) \
  {{},               \
   WEFT_ROW(f, 1),   \
   WEFT_ROW(f, 2),   \
   WEFT_ROW(f, 3),   \
   WEFT_ROW(f, 4),   \
   WEFT_ROW(f, 5),   \
   WEFT_ROW(f, 6),   \
   WEFT_ROW(f, 7)}
  static constexpr Collect one[max_runs + 1][max_vectors + 1] = WEFT_ROWS(collect_or_null);
  static constexpr CollectPair pair[max_runs + 1][max_vectors + 1] = WEFT_ROWS(pair_or_null);
#undef WEFT_ROWS
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
        const Collect f = narrow ? Table<true>::one[nr][nv] : Table<false>::one[nr][nv];
        f(list, from + r * from_pitch + v * size, from_pitch, sums + r * sums_pitch + v * size, sums_pitch);
      }
  }

  // The lower list is for the runs one further down.
  void collect_pair(const List& upper, const List& lower, const float* from, std::int64_t from_pitch,
                    float* sums, std::int64_t sums_pitch) const {
    const bool whole = R <= max_runs && vectors <= max_vectors;
    const CollectPair f = !whole   ? nullptr
                          : narrow ? Table<true>::pair[R][vectors]
                                   : Table<false>::pair[R][vectors];
    if (f) return f(upper, lower, from, from_pitch, sums, sums_pitch);
    collect(upper, from, from_pitch, sums, sums_pitch);
    collect(lower, from, from_pitch, sums + sums_pitch, sums_pitch);
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

// --- the live gradients ---

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
        rows(round_up(plan.p.K, lanes) * row),
        list(round_up(plan.p.K, lanes) + lanes),
        image(plan.batch * plan.images),
        dimage(plan.image),
        passed(plan.batch * rows),
        place(plan.batch * rows),
        gradient(plan.batch * row + lanes),
        offset(plan.batch * row + lanes),
        list_gradient(2 * lanes * list),
        list_offset(2 * lanes * list) {
    zero(image.data(), plan.batch * plan.images);
    zero(passed.data(), plan.batch * rows);
  }
  std::int64_t row, rows, list;
  Scratch<float> image, dimage;
  Scratch<float> passed;        // [image][k][window]: the gradients that pass, else 0
  Scratch<std::int32_t> place;  // and the winners' places in their windows, 0 to 3
  Scratch<float> gradient;
  Scratch<std::int32_t> offset;
  Scratch<float> list_gradient;
  Scratch<std::int32_t> list_offset;
};

// The gradients of one image that pass their windows; their sum for each k is added to db. Returns whether
// all of them are finite.
bool pass_windows(const Plan& plan, const float* dout, const std::uint8_t* winner, const Workspace& w,
                  float* passed, std::int32_t* places, float* db) {
  const Vec nan = broadcast(__builtin_nanf("")), one = broadcast(1.0f);
  Vec all{};
  for (std::int64_t k = 0; k < plan.p.K; ++k, dout += plan.positions, winner += plan.positions) {
    Vec total{};
    for (std::int64_t o = 0; o < plan.positions; o += lanes) {
      const std::int64_t count = min_of<std::int64_t>(lanes, plan.positions - o);
      const Vec d = load_some(dout + o, count);
      const Ints code = load_codes(winner + o, count);
      Vec slope = (code & winner_cut) != 0 ? Vec{} : one;
      slope = (code & winner_nan) != 0 ? nan : slope;
      const Vec g =
          (code & (winner_cut - 4)) != 0 ? Vec{} : d * slope;  // a place outside of the window: none
      total += g;
      store(passed + k * w.row + o, g);
      *reinterpret_cast<Ints*>(places + k * w.row + o) = code & 3;
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

// dw of some images, added to sums [k][r][run]. corners: where each window's runs begin.
void add_weight_gradient(const Plan& plan, std::int64_t images, const std::int32_t* corners,
                         const Workspace& w, float* sums) {
  const std::int64_t length = plan.weight_runs.length(), size = plan.p.R * length;
  const auto down = static_cast<std::int32_t>(plan.shift(1, 0)),
             right = static_cast<std::int32_t>(plan.shift(0, 1));
  for (std::int64_t k = 0; k < plan.p.K; ++k) {
    std::int64_t count = 0;
    for (std::int64_t n = 0; n < images; ++n) {
      const std::int64_t at = n * w.rows + k * w.row;
      const auto image = static_cast<std::int32_t>(n * plan.images);
      for (std::int64_t o = 0; o < plan.positions; o += lanes) {
        const Ints place = *reinterpret_cast<const Ints*>(w.place.data() + at + o);
        const Ints corner = *reinterpret_cast<const Ints*>(corners + o) + image;
        const Ints offset = corner + (-(place & 1) & right) + (-(place >> 1) & down);
        count += append(load(w.passed.data() + at + o), offset, w.gradient.data() + count,
                        w.offset.data() + count);
      }
    }
    plan.weight_runs.collect({w.gradient.data(), w.offset.data(), count}, w.image.data(), plan.pitch,
                             sums + k * size, length);
  }
}

// The lists of `lanes` windows of image n from o on, two for each: the k whose winner is in its upper, in its
// lower row.
void lists_of_windows(const Plan& plan, std::int64_t n, std::int64_t o, const Workspace& w,
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
      const std::int64_t at = n * w.rows + (k + i) * w.row + o;
      g[i] = load(w.passed.data() + at);
      places[i] = load(reinterpret_cast<const float*>(w.place.data()) + at);
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

// dx of image n of the batch, with its padding and the channels last.
void image_gradient(const Plan& plan, std::int64_t n, const float* weights, const Workspace& w) {
  const std::int64_t length = plan.image_runs.length();
  for (std::int64_t o = 0; o < plan.positions; o += lanes) {
    std::int64_t counts[2 * lanes];
    lists_of_windows(plan, n, o, w, counts);
    const std::int64_t windows = min_of<std::int64_t>(lanes, plan.positions - o);
    for (std::int64_t i = 0; i < windows; ++i) {
      const float* gradient = w.list_gradient.data() + 2 * i * w.list;
      const std::int32_t* offset = w.list_offset.data() + 2 * i * w.list;
      plan.image_runs.collect_pair({gradient, offset, counts[2 * i]},
                                   {gradient + w.list, offset + w.list, counts[2 * i + 1]}, weights, length,
                                   w.dimage.data() + plan.window(o + i), plan.pitch);
    }
  }
}

// The same for gradients that are not all finite: times the zeros around the weights they would make NaN.
void image_gradient_of_taps(const Plan& plan, std::int64_t n, const float* weight, const Workspace& w) {
  const Conv2dParams& p = plan.p;
  for (std::int64_t k = 0; k < p.K; ++k)
    for (std::int64_t o = 0; o < plan.positions; ++o) {
      const std::int64_t at = n * w.rows + k * w.row + o, place = w.place[at];
      const float g = w.passed[at];
      if (g == 0) continue;
      float* to = w.dimage.data() + plan.window(o) + (place >> 1) * plan.pitch + (place & 1) * plan.Cp;
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

// Images [first, last): dw and db added to sums ([k][r][run], then [k]), dx stored.
void some_images(const Plan& plan, const Conv2dReluMaxPool2dBackwardArgs& a, std::int64_t first,
                 std::int64_t last, const float* weights, const std::int32_t* corners, const Workspace& w,
                 float* sums) {
  const Conv2dParams& p = plan.p;
  const std::int64_t image = p.C * p.H * p.W, outs = p.K * plan.positions;
  bool finite[4];
  for (std::int64_t n = first; n < last; ++n) {
    const std::int64_t at = (n - first) * w.rows;
    finite[n - first] = pass_windows(plan, static_cast<const float*>(a.dout) + n * outs, a.winner + n * outs,
                                     w, w.passed.data() + at, w.place.data() + at, sums + plan.weights);
    if (a.dw)
      channels_last(plan, static_cast<const float*>(a.x) + n * image,
                    w.image.data() + (n - first) * plan.images);
  }
  if (a.dw) add_weight_gradient(plan, last - first, corners, w, sums);
  if (!a.dx) return;
  for (std::int64_t n = first; n < last; ++n) {
    zero(w.dimage.data(), plan.image);
    if (finite[n - first])
      image_gradient(plan, n - first, weights, w);
    else
      image_gradient_of_taps(plan, n - first, static_cast<const float*>(a.weight), w);
    channels_first(plan, w.dimage.data(), static_cast<float*>(a.dx) + n * image);
  }
}

}  // namespace

bool conv2d_relu_max_pool2d_sparse(const Conv2dReluMaxPool2dBackwardArgs& a) {
  if (!takes(a)) return false;
  const Plan plan(a);
  const Conv2dParams& p = plan.p;
  const std::int64_t taps = p.C * p.R * p.S, packed = a.dx ? 2 * p.K * p.R * plan.image_runs.length() : 0;
  if (4 * (plan.batch * plan.images + plan.image + packed + plan.weights + 2 * p.K * plan.positions) >
      scratch_limit)
    return false;
  const Scratch<float> weights(packed);
  if (a.dx) pack_weights(plan, static_cast<const float*>(a.weight), weights.data());
  const Scratch<std::int32_t> corners(round_up(plan.positions, lanes));  // of the windows in the image
  for (std::int64_t o = 0; o < plan.positions; ++o) corners[o] = static_cast<std::int32_t>(plan.corner(o));
  const std::int64_t groups = min_of<std::int64_t>(p.N, 16), stride = p.K * taps + p.K;
  const Scratch<float> partial(groups * stride);
  const std::int64_t work = p.N * p.K * plan.positions * taps / 8;
  parallel_tasks(groups, work, [&](std::int64_t group) {
    const Workspace w(plan);
    const Scratch<float> sums(plan.weights + p.K);
    zero(sums.data(), plan.weights + p.K);
    const std::int64_t end = (group + 1) * p.N / groups;
    for (std::int64_t n = group * p.N / groups; n < end; n += plan.batch)
      some_images(plan, a, n, min_of(n + plan.batch, end), weights.data(), corners.data(), w, sums.data());
    float* own = partial.data() + group * stride;
    if (a.dw) unpack_weights(plan, sums.data(), own);
    for (std::int64_t k = 0; k < p.K; ++k) own[p.K * taps + k] = sums[plan.weights + k];
  });
  add_groups(partial.data(), groups, stride, p.K * taps, static_cast<float*>(a.dw));
  add_groups(partial.data() + p.K * taps, groups, stride, p.K, static_cast<float*>(a.db));
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
