#include "ops/limits.h"

#include "backend.h"
#include "core/stream.h"
#include "core/threads.h"
#include "ops/check.h"

namespace weft {

Array fma_loop(std::int64_t iterations) {
  check_value(iterations >= 0, "fma_loop: iterations must not be negative, got ", iterations);
  const std::int64_t threads = num_threads();
  const Array flop = Array::empty({threads}, DType::float64);
  current_stream({}).submit("fma_loop", backend({}).fma_loop,
                            FmaLoopArgs{iterations, threads, flop.data<double>()}, {&flop});
  return flop;
}

}  // namespace weft
