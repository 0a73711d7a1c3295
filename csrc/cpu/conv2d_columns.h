// Which output columns of a convolution meet the image.
#pragma once
#include "cpu/parallel.h"
#include "ops/conv2d.h"

namespace weft::cpu::WEFT_ISA {

// For the tap s of a row: the output columns q whose input column q stride + shift lies inside of the image,
// in [begin, end).
struct Columns {
  [[gnu::always_inline]] Columns(const Conv2dParams& p, std::int64_t s)
      : shift(s * p.dilation_w - p.pad_left),
        begin(min_of(p.Q, shift >= 0 ? std::int64_t{0} : ceil_div(-shift, p.stride_w))),
        end(max_of(begin, shift >= p.W ? std::int64_t{0} : min_of(p.Q, (p.W - 1 - shift) / p.stride_w + 1))) {
  }
  std::int64_t shift, begin, end;
};

}  // namespace weft::cpu::WEFT_ISA
