// Batches of images; the definitions are in ops/data.h.
#include <cmath>

#include "reference/kernels.h"

namespace weft::reference {

void gather_images(Stream&, const GatherImagesArgs& a) {
  for (std::int64_t i = 0; i < a.count; ++i)
    for (std::int64_t c = 0; c < a.C; ++c)
      for (std::int64_t j = 0; j < a.plane; ++j)
        a.out[(i * a.C + c) * a.plane + j] =
            static_cast<float>(a.images[(a.index[i] * a.C + c) * a.plane + j]) * a.scale[c] + a.shift[c];
}

namespace {

// The image at row v, column u, in pixels; `fill` outside.
double bilinear(const WarpImagesArgs& a, const std::uint8_t* image, double v, double u) {
  if (!(v > -1 && v < static_cast<double>(a.H) && u > -1 && u < static_cast<double>(a.W))) return a.fill;
  const auto y = static_cast<std::int64_t>(std::floor(v)), x = static_cast<std::int64_t>(std::floor(u));
  const auto pixel = [&](std::int64_t row, std::int64_t column) -> double {
    return row < 0 || row >= a.H || column < 0 || column >= a.W ? a.fill : image[row * a.W + column];
  };
  const double down = v - static_cast<double>(y), right = u - static_cast<double>(x);
  return (1 - down) * ((1 - right) * pixel(y, x) + right * pixel(y, x + 1)) +
         down * ((1 - right) * pixel(y + 1, x) + right * pixel(y + 1, x + 1));
}

double centre(std::int64_t size) { return static_cast<double>(size - 1) / 2; }

}  // namespace

void warp_images(Stream&, const WarpImagesArgs& a) {
  for (std::int64_t i = 0; i < a.count * a.C * a.P * a.Q; ++i) {
    const std::int64_t q = i % a.Q, p = i / a.Q % a.P, c = i / (a.Q * a.P) % a.C, n = i / (a.Q * a.P * a.C);
    const double* t = a.theta + n * 6;
    const double x = static_cast<double>(q) - centre(a.Q), y = static_cast<double>(p) - centre(a.P);
    const double u = t[0] * x + t[1] * y + t[2] + centre(a.W), v = t[3] * x + t[4] * y + t[5] + centre(a.H);
    const std::uint8_t* image = a.images + (a.index[n] * a.C + c) * a.H * a.W;
    a.out[i] = static_cast<float>(bilinear(a, image, v, u)) * a.scale[c] + a.shift[c];
  }
}

}  // namespace weft::reference
