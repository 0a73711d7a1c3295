#include "core/error.h"
#include "cuda/kernels.h"

namespace weft::cuda {

void index_select(Stream&, const IndexSelectArgs&) {
  throw StateError("cuda: index_select is not written yet");
}
void index_add(Stream&, const IndexSelectArgs&) { throw StateError("cuda: index_add is not written yet"); }
void gather(Stream&, const GatherArgs&) { throw StateError("cuda: gather is not written yet"); }
void scatter_add(Stream&, const GatherArgs&) { throw StateError("cuda: scatter_add is not written yet"); }
void one_hot(Stream&, const OneHotArgs&) { throw StateError("cuda: one_hot is not written yet"); }

}  // namespace weft::cuda
