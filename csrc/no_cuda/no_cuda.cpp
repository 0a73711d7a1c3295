// The CUDA backend of a build without CUDA: it says so.
#include "core/cuda.h"
#include "core/error.h"

namespace weft::cuda {

namespace {
[[noreturn]] void refuse() { throw StateError("cuda: this build of weft has no CUDA backend"); }
}  // namespace

bool built() { return false; }
int device_count() { return 0; }
const Backend& backend(int) { refuse(); }
Allocator& allocator(int) { refuse(); }
Stream& stream(int) { refuse(); }

}  // namespace weft::cuda
