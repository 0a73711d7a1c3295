// Pooling over windows of the two last axes: maximum, minimum, average, Lp norm; fixed or adaptive windows.
//
//   max   out[n,c,p,q] = max over the window; index = h W + w of it (the first of equal ones; NaN wins)
//   min   the same with min
//   avg   sum over the window / divisor; divisor = window size incl. padding (count_include_pad; what lies
//         outside of the padded image never counts), else its part inside the image, else divisor_override
//   lp    (sum |x|^p)^(1/p)
//
// x (N,C,H,W) or (C,H,W); contiguous, or channels last (N,H,W,C; dx, out, dout and index too); float32 or
// float64. Padding of max and min counts as -inf and +inf and is at most half of the kernel's extent. With
// ceil_mode the output size is rounded up, but no window starts in the padding at the end. Adaptive: window i
// covers floor(i H/P) .. ceil((i+1) H/P). A dilated window may meet nothing but padding: max is then -inf
// (min inf) and the index -1.
#pragma once
#include <cstdint>
#include <optional>

#include "core/dtype.h"

namespace weft {

class Array;
struct Dims;

struct Pool2dParams {
  std::int64_t N, C, H, W, R, S, P, Q;  // R, S unused where adaptive
  std::int64_t stride_h, stride_w;
  std::int64_t pad_h, pad_w;
  std::int64_t dilation_h, dilation_w;  // max and min only
  bool adaptive;
  bool channels_last;  // the order of x, out, index, dx and dout
};

struct MaxPool2dArgs {
  Pool2dParams p;
  DType dtype;
  void* out;
  std::int32_t* index;  // may be null
  const void* x;
  bool minimum;
};
// dx[index] += dout; dx elsewhere 0. An index outside of the plane adds nothing. p.R > 0: the windows that
// the index was made of, so a kernel may leave out an index that lies outside of its window; with p.R = 0 of
// p only N, C, H, W, P, Q count.
struct MaxPool2dBackwardArgs {
  Pool2dParams p;
  DType dtype;
  void* dx;
  const void* dout;
  const std::int32_t* index;
};
struct AvgPool2dArgs {  // forward: dst = out, src = x; backward: dst = dx, src = dout
  Pool2dParams p;
  DType dtype;
  void* dst;
  const void* src;
  bool count_include_pad;
  std::int64_t divisor_override;  // 0: none
};
struct LpPool2dArgs {
  Pool2dParams p;
  DType dtype;
  void* out;
  const void* x;
  double norm;
};
struct LpPool2dBackwardArgs {  // dx = sum dout * sign(x) |x|^(p-1) / out^(p-1); 0 where out is 0
  Pool2dParams p;
  DType dtype;
  void* dx;
  const void* dout;
  const void* x;
  const void* out;
  double norm;
};

struct Pool2dOptions {
  std::int64_t R = 1, S = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1;
  bool ceil_mode = false;
};

Pool2dParams pool2d_params(const char* op, const Dims& x, const Pool2dOptions& options);
Pool2dParams adaptive_pool2d_params(const char* op, const Dims& x, std::int64_t P, std::int64_t Q);

// `index`, where given, receives an int32 array of out's shape.
Array max_pool2d(const char* op, const Array& x, const Pool2dParams& p, bool minimum, Array* index);
// windows: those that the index was made of, where they are known and not adaptive.
Array max_pool2d_backward(const Array& dout, const Array& index, const Dims& input_size,
                          const Pool2dOptions* windows);
Array avg_pool2d(const char* op, const Array& x, const Pool2dParams& p, bool count_include_pad,
                 std::optional<std::int64_t> divisor_override);
Array avg_pool2d_backward(const char* op, const Array& dout, const Dims& input_size, const Pool2dParams& p,
                          bool count_include_pad, std::optional<std::int64_t> divisor_override);
Array lp_pool2d(const Array& x, const Pool2dParams& p, double norm);
Array lp_pool2d_backward(const Array& dout, const Array& x, const Array& out, const Pool2dParams& p,
                         double norm);

}  // namespace weft
