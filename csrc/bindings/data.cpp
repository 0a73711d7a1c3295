#include "ops/data.h"

#include "bindings/bindings.h"
#include "core/error.h"

namespace weft {

void bind_data(py::module_& m) {
  m.def(
      "gather_images",
      [](const ArrayLike& images, const ArrayLike& index, const ArrayLike& scale, const ArrayLike& shift,
         bool check) { return gather_images(images, index, scale, shift, check); },
      py::arg("images"), py::arg("index"), py::arg("scale"), py::arg("shift"), py::arg("check") = true,
      ReleaseGil(),
      "out[i] = images[index[i]] * scale + shift, by channel: a normalized batch in one pass.\n\n"
      "images: uint8 (n, C, H, W). index: int64 (count,). scale, shift: float32 (C,); for a mean m and a "
      "standard deviation s on the 0..1 scale 1 / (255 s) and -m / s. Returns float32 (count, C, H, W).\n"
      "check=False leaves out the check of the indices, and is unsafe: one out of range then reads foreign "
      "memory. "
      "IndexError for an image that does not exist.");
  m.def(
      "warp_images",
      [](const ArrayLike& images, const ArrayLike& index, const ArrayLike& theta, Pair size,
         const ArrayLike& scale, const ArrayLike& shift, double fill,
         bool check) { return warp_images(images, index, theta, size.h, size.w, scale, shift, fill, check); },
      py::arg("images"), py::arg("index"), py::arg("theta"), py::arg("output_size"), py::arg("scale"),
      py::arg("shift"), py::arg("fill") = 0.0, py::arg("check") = true, ReleaseGil(),
      "gather_images through an affine map, read bilinearly: rotation, shift, flip, crop.\n\n"
      "theta: float64 (count, 2, 3). The output pixel at x, y (column, row), in pixels from the output's "
      "centre, shows the source at theta @ (x, y, 1), in pixels from the source's centre. output_size: (P, "
      "Q). "
      "fill: the value outside of the image, 0 to 255, before scale and shift. Returns float32 (count, C, P, "
      "Q). check=False leaves out the checks of index and theta, and is unsafe, as in "
      "gather_images.\nIndexError for an image that does not "
      "exist; ValueError for a theta that is not finite.");
}

}  // namespace weft
