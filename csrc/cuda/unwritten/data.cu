#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void gather_images(Stream&, const GatherImagesArgs&) {
  throw StateError("cuda: gather_images is not written yet");
}
void warp_images(Stream&, const WarpImagesArgs&) { throw StateError("cuda: warp_images is not written yet"); }

}  // namespace weft::cuda
