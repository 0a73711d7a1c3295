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

#include "cpu/conv2d_relu_max_pool2d_sparse/layout.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

namespace {

#define WEFT_INLINE [[gnu::always_inline]] inline

constexpr std::int64_t scratch_limit = 768 * 1024;  // bytes for one image: it should stay in the L2 cache
typedef std::int32_t Ints __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
typedef std::uint8_t Bytes __attribute__((vector_size(lanes), aligned(1), may_alias));

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
    // Channels beyond the last one; the others are written for each image.
    for (std::int64_t n = 0; n < plan.batch; ++n)
      zero(passed.data() + n * rows + plan.p.K * row, rows - plan.p.K * row);
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
  Vec all{};
  for (std::int64_t k = 0; k < plan.p.K; ++k, dout += plan.positions, winner += plan.positions) {
    Vec total{};
    for (std::int64_t o = 0; o < plan.positions; o += lanes) {
      const std::int64_t count = min_of<std::int64_t>(lanes, plan.positions - o);
      const Vec d = load_some(dout + o, count);
      const Ints code = load_codes(winner + o, count);
      const Vec g = code > 3 ? Vec{} : d;  // a place outside of the window: none
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

// Adds the groups' sums to the first one's, in order.
void add_groups(float* sums, std::int64_t groups, std::int64_t stride) {
  for (std::int64_t g = 1; g < groups; ++g)
    for (std::int64_t i = 0; i < stride; ++i) sums[i] += sums[g * stride + i];
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
  // A group's sums: dw as runs, then db.
  const std::int64_t groups = min_of<std::int64_t>(ceil_div(p.N, plan.batch), 16);
  const std::int64_t stride = round_up(plan.weights + p.K, 16), work = p.N * p.K * plan.positions * taps / 8;
  const Scratch<float> sums(groups * stride);
  parallel_tasks(groups, work, [&](std::int64_t group) {
    const Workspace w(plan);
    float* own = sums.data() + group * stride;
    zero(own, stride);
    const std::int64_t end = (group + 1) * p.N / groups;
    for (std::int64_t n = group * p.N / groups; n < end; n += plan.batch)
      some_images(plan, a, n, min_of(n + plan.batch, end), weights.data(), corners.data(), w, own);
  });
  add_groups(sums.data(), groups, stride);
  if (a.dw) unpack_weights(plan, sums.data(), static_cast<float*>(a.dw));
  if (a.db)
    for (std::int64_t k = 0; k < p.K; ++k) static_cast<float*>(a.db)[k] = sums[plan.weights + k];
  return true;
}

}  // namespace weft::cpu::WEFT_ISA
