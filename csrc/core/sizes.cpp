#include "core/sizes.h"

#include "core/error.h"

namespace weft {

std::int64_t element_count(const char* op, const Dims& shape) {
  // On the way of every new array: no Size, and no message before it is needed.
  constexpr std::int64_t most = std::int64_t{1} << 58;
  std::int64_t counted = 1;
  bool empty = false, fits = true, negative = false;
  for (std::int64_t entry : shape) {
    negative |= entry < 0;
    if (entry == 0)
      empty = true;
    else
      fits &= !__builtin_mul_overflow(counted, entry, &counted);
  }
  if (negative || !fits || counted >= most) {
    check_value(!negative, op, ": shape ", shape, " has a negative entry");
    throw ValueError(str(op, ": shape ", shape, " has too many elements, 2^58 or more"));
  }
  return empty ? 0 : counted;
}

void check_work(const char* op, std::initializer_list<std::int64_t> factors) {
  constexpr std::int64_t most = std::int64_t{1} << 62;
  Size work = 1;
  for (std::int64_t factor : factors)
    if (factor != 0) work = work * factor;
  check_value(work.fits && work.value < most, op, ": that would be ", work, " multiplications, 2^62 or more");
}

}  // namespace weft
