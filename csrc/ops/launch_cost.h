// What a recorded launch costs (ops/cost.h).
#pragma once
#include "core/recording.h"

namespace weft {

struct LaunchCost {
  double flop = 0, bytes = 0;
};

// Nothing for a kernel of no table.
LaunchCost launch_cost(const Launch& launch);

}  // namespace weft
