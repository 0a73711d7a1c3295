// Batches of images; see ops/data.h.
#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "reference/kernels.h"

namespace weft::cpu::WEFT_ISA {

void gather_images(Stream& stream, const GatherImagesArgs& a) { reference::gather_images(stream, a); }
void warp_images(Stream& stream, const WarpImagesArgs& a) { reference::warp_images(stream, a); }

}  // namespace weft::cpu::WEFT_ISA
