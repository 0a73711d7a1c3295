#include "ops/limits.h"

#include "backend.h"
#include "core/error.h"
#include "core/stream.h"
#include "core/threads.h"
#include "ops/check.h"

namespace weft {

Array fma_loop(std::int64_t iterations, const Device& device) {
  constexpr std::int64_t most = std::int64_t{1} << 40;  // days
  check_value(iterations >= 0, "fma_loop: iterations must not be negative, got ", iterations);
  check_value(iterations <= most, "fma_loop: iterations must be at most 2^40, got ", iterations);
  const std::int64_t threads = device.kind == Device::Kind::cpu ? num_threads() : 1;
  const Array flop = Array::empty({threads}, DType::float64, device);
  current_stream(device).submit("fma_loop", backend(device).fma_loop,
                                FmaLoopArgs{iterations, threads, flop.data<double>()}, {&flop});
  return flop;
}

}  // namespace weft
