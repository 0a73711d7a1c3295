#include "core/dims.h"

#include <ostream>

#include "core/error.h"

namespace weft {

void too_many_dimensions() { throw ValueError(str("shape: an array has at most ", max_rank, " dimensions")); }

std::ostream& operator<<(std::ostream& out, const Dims& dims) {
  out << "(";
  for (int i = 0; i < dims.n; ++i) out << (i ? ", " : "") << dims[i];
  return out << (dims.n == 1 ? ",)" : ")");
}

int normalize_axis(const char* op, std::int64_t axis, int ndim) {
  const std::int64_t found = axis < 0 ? axis + ndim : axis;
  if (found < 0 || found >= ndim)
    throw IndexError(str(op, ": axis ", axis, " is out of range for an array with ", ndim,
                         ndim == 1 ? " dimension" : " dimensions"));
  return static_cast<int>(found);
}

}  // namespace weft
