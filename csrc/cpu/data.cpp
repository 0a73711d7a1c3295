// Batches of images, spread over threads by image; see ops/data.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void gather_images(Stream&, const GatherImagesArgs& a) {
  parallel_tasks(a.count, a.count * a.C * a.plane, [&](std::int64_t i) {
    for (std::int64_t c = 0; c < a.C; ++c) {
      const std::uint8_t* __restrict from = a.images + (a.index[i] * a.C + c) * a.plane;
      float* __restrict out = a.out + (i * a.C + c) * a.plane;
      const float scale = a.scale[c], shift = a.shift[c];
      for (std::int64_t j = 0; j < a.plane; ++j) out[j] = static_cast<float>(from[j]) * scale + shift;
    }
  });
}

void warp_images(Stream& stream, const WarpImagesArgs& a) {
  const std::int64_t size = a.C * a.P * a.Q;
  parallel_tasks(a.count, a.count * size * 16, [&](std::int64_t i) {
    WarpImagesArgs one = a;
    one.count = 1;
    one.out += i * size;
    one.index += i;
    one.theta += i * 6;
    reference::warp_images(stream, one);
  });
}

}  // namespace weft::cpu::WEFT_ISA
