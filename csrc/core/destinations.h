// Where the next arrays of given shapes shall lie. A gradient that its kernel writes straight into the
// optimizer's buffer need not be copied there. Only a wish: who asks looks at what came back, because an
// intermediate array of the same shape may have been quicker.
#pragma once
#include <vector>

#include "core/array.h"

namespace weft {

// Of this thread, until they are taken or others are set.
void set_destinations(std::vector<Array> places);
// The place for a new array and its end as a destination; undefined where there is none.
Array take_destination(const Dims& shape, DType dtype, Device device);

}  // namespace weft
