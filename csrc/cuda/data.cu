// Batches of images; the definitions are in ops/data.h. The data set lies in device memory. An index or a
// transformation that the checks in ops/ refuse may get here before they are heard of: such an index is never
// read from, its image becomes NaN.
//
// gather_images is bound by memory, 1 byte in and 4 out for each pixel: a batch of 512 MNIST images, 2 MB,
// takes less than a launch; and so does warp_images with its 40 operations in double a pixel.
#include "cuda/device/vec.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

constexpr int block = 256;

// A thread makes V neighbouring pixels of a plane; `packs`: of these in a plane. I as wide as `total`.
template <int V, class I>
__global__ void __launch_bounds__(block) gather_kernel(GatherImagesArgs a, I packs, I total) {
  for (I i = blockIdx.x * block + threadIdx.x; i < total; i += static_cast<I>(gridDim.x) * block) {
    const I plane = i / packs, image = plane / static_cast<I>(a.C), c = plane - image * static_cast<I>(a.C);
    const std::int64_t index = a.index[image];
    const float scale = a.scale[c], shift = a.shift[c];
    Pack<float, V> out;
    if (index >= 0 && index < a.images_count) {
      const std::uint8_t* from = a.images + (index * a.C + c) * a.plane + std::int64_t{i - plane * packs} * V;
      const Pack<std::uint8_t, V> in = load_pack<std::uint8_t, V>(from);
#pragma unroll
      for (int v = 0; v < V; ++v) out.v[v] = static_cast<float>(in.v[v]) * scale + shift;
    } else {
#pragma unroll
      for (int v = 0; v < V; ++v) out.v[v] = NAN;
    }
    store_pack(a.out + std::int64_t{i} * V, out);
  }
}

__device__ __forceinline__ double centre(std::int64_t size) { return static_cast<double>(size - 1) / 2; }

// The pixel at row y, column x; `fill` outside.
__device__ __forceinline__ double pixel(const WarpImagesArgs& a, const std::uint8_t* image, std::int64_t y,
                                        std::int64_t x) {
  return y < 0 || y >= a.H || x < 0 || x >= a.W ? a.fill : image[y * a.W + x];
}

// The image at row v, column u, in pixels; `fill` outside. In double: the reference's sums, in its order.
__device__ double bilinear(const WarpImagesArgs& a, const std::uint8_t* image, double v, double u) {
  if (!(v > -1 && v < static_cast<double>(a.H) && u > -1 && u < static_cast<double>(a.W))) return a.fill;
  const double top = floor(v), left = floor(u), down = v - top, right = u - left;
  const auto y = static_cast<std::int64_t>(top), x = static_cast<std::int64_t>(left);
  return (1 - down) * ((1 - right) * pixel(a, image, y, x) + right * pixel(a, image, y, x + 1)) +
         down * ((1 - right) * pixel(a, image, y + 1, x) + right * pixel(a, image, y + 1, x + 1));
}

// A thread makes one pixel of all channels.
__global__ void __launch_bounds__(block) warp_kernel(WarpImagesArgs a) {
  const std::int64_t size = a.P * a.Q, total = a.count * size;
  for (std::int64_t i = std::int64_t{blockIdx.x} * block + threadIdx.x; i < total;
       i += std::int64_t{gridDim.x} * block) {
    const std::int64_t n = i / size, j = i - n * size, index = a.index[n];
    const double* t = a.theta + n * 6;
    const double x = static_cast<double>(j % a.Q) - centre(a.Q),
                 y = static_cast<double>(j / a.Q) - centre(a.P);
    const double u = t[0] * x + t[1] * y + t[2] + centre(a.W), v = t[3] * x + t[4] * y + t[5] + centre(a.H);
    const bool good = index >= 0 && index < a.images_count;
    for (std::int64_t c = 0; c < a.C; ++c) {
      const std::uint8_t* image = a.images + (index * a.C + c) * a.H * a.W;
      a.out[(n * a.C + c) * size + j] =
          good ? static_cast<float>(bilinear(a, image, v, u)) * a.scale[c] + a.shift[c] : NAN;
    }
  }
}

template <int V>
void launch_gather(Stream& stream, const GatherImagesArgs& a) {
  const std::int64_t packs = a.plane / V, total = a.count * a.C * packs;
  if (total < std::int64_t{1} << 30)
    launch_over<block>(stream, gather_kernel<V, std::int32_t>, total, a, static_cast<std::int32_t>(packs),
                       static_cast<std::int32_t>(total));
  else
    launch_over<block>(stream, gather_kernel<V, std::int64_t>, total, a, packs, total);
}

}  // namespace

void gather_images(Stream& stream, const GatherImagesArgs& a) {
  const bool packs = a.plane % 4 == 0 && aligned(a.out, 16) && aligned(a.images, 4);
  packs ? launch_gather<4>(stream, a) : launch_gather<1>(stream, a);
}

void warp_images(Stream& stream, const WarpImagesArgs& a) {
  launch_over<block>(stream, warp_kernel, a.count * a.P * a.Q, a);
}

}  // namespace weft::cuda
