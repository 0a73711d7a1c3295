// The whole convolution out = x * w, in one of two orders of work.
//
//   by blocks   Small weights: U once, then each block of tiles goes through all of its steps, V and M in
//               the cache.
//   by panels   Large weights: V of several blocks first, then each panel of output channels makes its U, a
//               slice of input channels at a time, just before it is used, and multiplies all blocks with it.
//
// Pieces and the order of every sum depend on the problem alone.
#pragma once
#include "cpu/conv2d_winograd/weights.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

constexpr std::int64_t tiles_of_block = 32;
// Numbers of U up to which it is made at once: about 2.4 MB.
constexpr std::int64_t small_weight = 36 * 128 * 128;
// Numbers of V that are made before a pass over all panels: 5 MB, which the third-level cache keeps.
constexpr std::int64_t stage_size = std::int64_t{5} << 18;
constexpr std::int64_t slice = 128;  // input channels

// M += V U for channels c0 .. c1 of one panel. u: [plane][c1 - c0][vectors L].
template <class F>
[[gnu::noinline]] void multiply_planes(const Block& b, int vectors, const Operand& v_shape, const float* v,
                                       std::int64_t c0, std::int64_t c1, const float* u, std::int64_t u_plane,
                                       const Operand& m_shape, float* m, Ahead& ahead) {
  v += c0 * v_shape.tiles;
  for (int i = 0; i < F::n; ++i)
    for (int j = 0; j < F::n; ++j, v += v_shape.plane, u += u_plane, m += m_shape.plane)
      multiply_range(b.range(F::infinity && i == F::n - 1, F::infinity && j == F::n - 1), vectors, c1 - c0, v,
                     v_shape.tiles * L, u, m, m_shape.tiles * L, c0 > 0, v + v_shape.plane, ahead);
}

// Only whole rows of NCHW images are worth fetching; see fetch_input, fetch_output.
template <class F, class Other>
Fetch fetch_input(const Other&, const Blocks&, const Block&) {
  return {};
}
template <class Other>
Fetch fetch_output(const Other&, const Blocks&, const Block&, std::int64_t) {
  return {};
}

template <class F, class In>
[[gnu::noinline]] void transform_block(const In& x, const Blocks& blocks, const Block& b,
                                       std::int64_t channel_block, const Operand& shape, float* v,
                                       float* scratch) {
  for (std::int64_t image = 0; image < b.images; ++image)
    transform_input<F>(x, blocks, b, image, channel_block, shape, v, scratch);
}

template <class F, class Out>
[[gnu::noinline]] void finish_panel(const Out& out, const Blocks& blocks, const Block& b, std::int64_t p,
                                    int vectors, const Operand& m_shape, float* m, float* pixels) {
  for (int vector = 0; vector < vectors; ++vector)
    transform_output<F>(out, blocks, b, 2 * p + vector, m_shape.at(m, vector, 0), m_shape.plane, pixels);
}

template <class F, class In, class Out>
void convolve_by_blocks(const In& x, const Filters& w, const Out& out, const Blocks& blocks,
                        std::int64_t work) {
  constexpr int planes = F::n * F::n;
  const std::int64_t panels = ceil_div(w.outs, panel);
  const std::int64_t u_plane = plane_stride(w.ins * ceil_div(w.outs, L));
  const Scratch<float> u(planes * u_plane);
  const auto u_of = [&](std::int64_t p) { return u.data() + p * w.ins * panel; };
  const std::int64_t slices = ceil_div(w.ins, L);
  parallel_tasks(panels * slices, w.ins * w.outs * planes, [&](std::int64_t i) {
    const std::int64_t p = i / slices, c = i % slices * L;
    transform_weight<F>(w, p, c, min_of<std::int64_t>(c + L, w.ins),
                        u_of(p) + c * panel_vectors(w.outs, p) * L, u_plane);
  });
  const Operand v_shape(w.ins, blocks.largest), m_shape(panel, blocks.largest);
  const std::int64_t scratch_size = max_of(input_scratch<F>(blocks), output_scratch<F>(blocks));
  parallel_tasks(blocks.count, work, [&](std::int64_t i) {
    const Scratch<float> v(planes * v_shape.plane), m(planes * m_shape.plane);
    const Scratch<float> scratch(scratch_size);
    const Block b = blocks[i];
    for (std::int64_t channel_block = 0; channel_block < v_shape.blocks; ++channel_block)
      transform_block<F>(x, blocks, b, channel_block, v_shape, v.data(), scratch.data());
    const bool whole_rows = blocks.column_pieces == 1;
    Ahead ahead;
    if (whole_rows && i + 1 < blocks.count) ahead.images = fetch_input<F>(x, blocks, blocks[i + 1]);
    for (std::int64_t p = 0; p < panels; ++p) {
      const int vectors = panel_vectors(w.outs, p);
      if (whole_rows && b.images == 1) ahead.outputs = fetch_output(out, blocks, b, p);
      multiply_planes<F>(b, vectors, v_shape, v.data(), 0, w.ins, u_of(p), u_plane, m_shape, m.data(), ahead);
      finish_panel<F>(out, blocks, b, p, vectors, m_shape, m.data(), scratch.data());
    }
  });
}

template <class F, class In, class Out>
void convolve_by_panels(const In& x, const Filters& w, const Out& out, const Blocks& blocks,
                        std::int64_t work) {
  constexpr int planes = F::n * F::n;
  const Operand v_shape(w.ins, blocks.largest), m_shape(panel, blocks.largest);
  const std::int64_t v_size = planes * v_shape.plane, m_size = planes * m_shape.plane;
  const std::int64_t stage = min_of(blocks.count, max_of<std::int64_t>(1, stage_size / v_size));
  const std::int64_t u_plane = plane_stride(slice * 2);
  const Scratch<float> v(stage * v_size);
  const std::int64_t input_size = input_scratch<F>(blocks), output_size = output_scratch<F>(blocks);
  for (std::int64_t first = 0; first < blocks.count; first += stage) {
    const std::int64_t count = min_of(stage, blocks.count - first);
    parallel_tasks(count * v_shape.blocks, work, [&](std::int64_t i) {
      const Scratch<float> scratch(input_size);
      const std::int64_t block = i / v_shape.blocks;
      transform_block<F>(x, blocks, blocks[first + block], i % v_shape.blocks, v_shape,
                         v.data() + block * v_size, scratch.data());
    });
    parallel_tasks(ceil_div(w.outs, panel), work, [&](std::int64_t p) {
      const Scratch<float> u(planes * u_plane), m(count * m_size), scratch(output_size);
      const int vectors = panel_vectors(w.outs, p);
      Ahead nothing;
      for (std::int64_t c0 = 0; c0 < w.ins; c0 += slice) {
        const std::int64_t c1 = min_of(c0 + slice, w.ins);
        transform_weight<F>(w, p, c0, c1, u.data(), u_plane);
        for (std::int64_t i = 0; i < count; ++i)
          multiply_planes<F>(blocks[first + i], vectors, v_shape, v.data() + i * v_size, c0, c1, u.data(),
                             u_plane, m_shape, m.data() + i * m_size, nothing);
      }
      for (std::int64_t i = 0; i < count; ++i)
        finish_panel<F>(out, blocks, blocks[first + i], p, vectors, m_shape, m.data() + i * m_size,
                        scratch.data());
    });
  }
}

// N images; out is P x Q.
template <class F, class In, class Out>
void convolve(std::int64_t N, const In& x, const Filters& w, const Out& out) {
  const Blocks blocks(N, out.P, out.Q, F::m, tiles_of_block);
  const std::int64_t work = N * out.P * out.Q * w.ins * w.outs / 2;
  if (w.ins * w.outs * F::n * F::n <= small_weight)
    convolve_by_blocks<F>(x, w, out, blocks, work);
  else
    convolve_by_panels<F>(x, w, out, blocks, work);
}

}  // namespace weft::cpu::WEFT_ISA
