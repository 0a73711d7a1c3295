#include "core/sizes.h"

#include "core/error.h"

namespace weft {

std::int64_t element_count(const char* op, const Dims& shape) {
  constexpr std::int64_t most = std::int64_t{1} << 58;
  Size counted = 1;
  bool empty = false;
  for (std::int64_t entry : shape) {
    check_value(entry >= 0, op, ": shape ", shape, " has a negative entry");
    if (entry == 0)
      empty = true;
    else
      counted = counted * entry;
  }
  check_value(counted.fits && counted.value < most, op, ": shape ", shape,
              " has too many elements, 2^58 or more");
  return empty ? 0 : counted.value;
}

void check_work(const char* op, std::initializer_list<std::int64_t> factors) {
  constexpr std::int64_t most = std::int64_t{1} << 62;
  Size work = 1;
  for (std::int64_t factor : factors)
    if (factor != 0) work = work * factor;
  check_value(work.fits && work.value < most, op, ": that would be ", work, " multiplications, 2^62 or more");
}

}  // namespace weft
