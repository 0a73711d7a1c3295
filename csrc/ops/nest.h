// Makes the loop nest of a strided elementwise kernel: operands broadcast to one shape, dimensions that lie
// evenly in memory joined, the fastest one last.
#pragma once
#include "core/array.h"
#include "ops/elementwise.h"

namespace weft {

// Fills ndim, shape and the operands' strides. operands[0] is the output; all have been expanded to one
// shape. At least one dimension remains.
template <int Count>
void make_nest(const Array (&arrays)[Count], Strided* const (&operands)[Count], int& ndim,
               std::int64_t (&shape)[max_rank]);

extern template void make_nest<1>(const Array (&)[1], Strided* const (&)[1], int&,
                                  std::int64_t (&)[max_rank]);
extern template void make_nest<2>(const Array (&)[2], Strided* const (&)[2], int&,
                                  std::int64_t (&)[max_rank]);
extern template void make_nest<3>(const Array (&)[3], Strided* const (&)[3], int&,
                                  std::int64_t (&)[max_rank]);
extern template void make_nest<4>(const Array (&)[4], Strided* const (&)[4], int&,
                                  std::int64_t (&)[max_rank]);

}  // namespace weft
