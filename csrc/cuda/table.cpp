// The table of the backend's entry points.
#include "backend.h"
#include "cuda/runtime.h"

namespace weft::cuda {

WEFT_KERNELS(WEFT_DECLARE_KERNEL)

const Backend& backend(int device) {
  static constexpr Backend table{WEFT_KERNELS(WEFT_TABLE_ENTRY)};
  device_state(device);
  return table;
}

}  // namespace weft::cuda
