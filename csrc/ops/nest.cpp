#include "ops/nest.h"

#include <algorithm>
#include <cstdlib>

namespace weft {

namespace {

// Dimensions of size 1 say nothing; the others are sorted by the output's stride, the smallest last, so that
// memory is walked in its own order. Axes that are broadcast in the output (stride 0) do not occur.
Dims loop_order(const Array& out) {
  Dims order;
  for (int i = 0; i < out.ndim(); ++i)
    if (out.shape()[i] != 1) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return std::abs(out.strides()[static_cast<int>(a)]) > std::abs(out.strides()[static_cast<int>(b)]);
  });
  return order;
}

}  // namespace

template <int Count>
void make_nest(const Array (&arrays)[Count], Strided* const (&operands)[Count], int& ndim,
               std::int64_t (&shape)[max_rank]) {
  ndim = 0;
  for (int k = 0; k < Count; ++k) operands[k]->data = arrays[k].raw();
  for (std::int64_t axis64 : loop_order(arrays[0])) {
    const int axis = static_cast<int>(axis64);
    const std::int64_t size = arrays[0].shape()[axis];
    bool joins = ndim > 0;
    for (int k = 0; k < Count && joins; ++k)
      joins = operands[k]->strides[ndim - 1] == size * arrays[k].strides()[axis];
    const int at = joins ? ndim - 1 : ndim++;
    shape[at] = joins ? shape[at] * size : size;
    for (int k = 0; k < Count; ++k) operands[k]->strides[at] = arrays[k].strides()[axis];
  }
  if (ndim == 0) {  // a single element
    ndim = 1;
    shape[0] = 1;
    for (int k = 0; k < Count; ++k) operands[k]->strides[0] = 0;
  }
}

template void make_nest<1>(const Array (&)[1], Strided* const (&)[1], int&, std::int64_t (&)[max_rank]);
template void make_nest<2>(const Array (&)[2], Strided* const (&)[2], int&, std::int64_t (&)[max_rank]);
template void make_nest<3>(const Array (&)[3], Strided* const (&)[3], int&, std::int64_t (&)[max_rank]);
template void make_nest<4>(const Array (&)[4], Strided* const (&)[4], int&, std::int64_t (&)[max_rank]);

}  // namespace weft
