#include "reference/kernels.h"

namespace weft::reference {

void fma_loop(Stream&, const FmaLoopArgs& args) {
  for (std::int64_t t = 0; t < args.threads; ++t) {
    volatile float sum = 0;
    for (std::int64_t i = 0; i < args.iterations; ++i) sum = sum * 0.5f + 0.5f;
    args.flop[t] = 2.0 * static_cast<double>(args.iterations);
  }
}

}  // namespace weft::reference
