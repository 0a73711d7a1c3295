// Batches out of a data set of uint8 images that lies in memory, normalized in the same pass.
//
//   gather_images  out[i,c,h,w] = images[index[i], c, h, w] * scale[c] + shift[c]
//   warp_images    the same at a point of the source image, read bilinearly: output pixel (p, q) shows
//                    u = t00 x + t01 y + t02,  v = t10 x + t11 y + t12
//                  with x, y the output pixel's centre relative to the output's centre, in pixels, and u, v
//                  relative to the source's centre. Outside of the image the value is `fill` (0..255).
//
// images (n,C,H,W) uint8, index (count) int64, out (count,C,P,Q) float32; theta (count,2,3) float64.
// With mean m and standard deviation s on the 0..1 scale: scale = 1 / (255 s), shift = -m / s.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace weft {

class Array;

struct GatherImagesArgs {
  std::int64_t count, C, plane;  // plane = H W
  std::int64_t images_count;     // n: an index outside of 0 .. n - 1 is an error, and never read
  float* out;
  const std::uint8_t* images;
  const std::int64_t* index;
  const float* scale;  // C
  const float* shift;  // C
};
struct WarpImagesArgs {
  std::int64_t count, C, H, W, P, Q;
  std::int64_t images_count;
  float* out;
  const std::uint8_t* images;
  const std::int64_t* index;
  const double* theta;
  const float* scale;
  const float* shift;
  double fill;
};

// check: as index_select's. index and theta on the host are brought to the images' device.
Array gather_images(const Array& images, const Array& index, const Array& scale, const Array& shift,
                    bool check = true);
Array warp_images(const Array& images, const Array& index, const Array& theta, std::int64_t P, std::int64_t Q,
                  const Array& scale, const Array& shift, double fill, bool check = true);

}  // namespace weft
