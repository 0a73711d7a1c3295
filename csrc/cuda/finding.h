// What a check of elements found, in pinned memory, so that the host can read it once the stream is done.
#pragma once
#include "ops/check.h"

namespace weft {

class Stream;

}  // namespace weft

namespace weft::cuda {

struct Finding {
  unsigned long long position;  // of the first bad element
  long long value;
  double real;
};
constexpr unsigned long long no_finding = ~0ull;

// A finding for a check that is about to be submitted; holds no_finding. In a graph it is watched for as long
// as that lives.
Finding* begin_check(const CheckValuesArgs& args);
// Once it is submitted: outside of a graph, waits for the stream and throws what was found.
void end_check(Stream& stream, const CheckValuesArgs& args, const Finding* finding);

// Submits the search; `finding` holds no_finding before.
void find_bad_value(Stream& stream, const CheckValuesArgs& args, Finding* finding);

}  // namespace weft::cuda
