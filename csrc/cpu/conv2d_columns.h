// Where a convolution's windows lie: which output columns meet the image, and whether most meet it at all.
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

// Whether an image with its padding around it is so much larger than the image and the output together that
// no method should copy it, or walk it: there dilation lets few taps meet the image at all. As doubles, for
// 64 bits may not hold the product.
[[gnu::always_inline]] inline bool is_mostly_padding(const Conv2dParams& p) {
  constexpr double many = 64, any_image = 1 << 20;
  const auto area = [](std::int64_t h, std::int64_t w) {
    return static_cast<double>(h) * static_cast<double>(w);
  };
  return area(p.H + p.pad_top + p.pad_bottom, p.W + p.pad_left + p.pad_right) >
         many * (area(p.H, p.W) + area(p.P, p.Q)) + any_image;
}

}  // namespace weft::cpu::WEFT_ISA
