// Whether two arrays share elements, for operations that write into memory they were given.
#pragma once
#include "core/array.h"

namespace weft {

// x, or a copy of it where writing `out` could change elements of x that are still to be read. The same
// elements in the same order are safe. Addresses count, not storages: two arrays may have come from one
// NumPy array.
Array apart(const Array& out, const Array& x);

}  // namespace weft
