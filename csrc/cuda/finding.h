// What a check of elements found, in pinned memory, so that the host can read it once the stream is done.
#pragma once
#include "core/stream.h"
#include "ops/check.h"

namespace weft::cuda {

struct Finding {
  unsigned long long position;  // of the first bad element
  long long value;
  double real;
};
constexpr unsigned long long no_finding = ~0ull;

// Submits the search; `finding` holds no_finding before.
void find_bad_value(Stream& stream, const CheckValuesArgs& args, Finding* finding);

}  // namespace weft::cuda
