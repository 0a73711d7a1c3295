#include "ops/data.h"

#include <cmath>

#include "backend.h"
#include "core/array.h"
#include "core/error.h"
#include "core/stream.h"
#include "ops/check.h"
#include "ops/elementwise.h"

namespace weft {

namespace {

void check_float32_channels(const char* op, const char* what, const Array& x, const Array& images) {
  check_type(x.dtype() == DType::float32, op, ": ", what, " must be float32, got ", name(x.dtype()));
  check_value(x.ndim() == 1 && x.shape(0) == images.shape(1), op, ": ", what, " expects C=", images.shape(1),
              " values (images ", images.shape(), ") but has shape ", x.shape());
  check_same_device(op, "images", images, what, x);
}

[[noreturn]] void fail_image(const CheckValuesArgs& a, std::int64_t, std::int64_t value, double) {
  throw IndexError(str(a.op, ": index ", value, " is out of range for ", a.high, " images (index ", a.index,
                       ", images ", a.array, ")"));
}

[[noreturn]] void fail_theta(const CheckValuesArgs& a, std::int64_t position, std::int64_t, double real) {
  throw ValueError(str(a.op, ": theta must be finite, got ", real, " for image ", position / 6));
}

Array to_images(const Array& x, const Array& images) {
  return x.device().kind == Device::Kind::cpu ? moved(x, images.device()) : x;
}

// Contiguous int64 indices, each of an image that exists.
Array check_batch(const char* op, const Array& images, const Array& given_index, const Array& scale,
                  const Array& shift, bool check) {
  check_type(images.dtype() == DType::uint8, op, ": images must be uint8, got ", name(images.dtype()));
  check_rank(op, "images", images, 4);
  check_type(given_index.dtype() == DType::int64, op, ": index must be int64, got ",
             name(given_index.dtype()));
  check_rank(op, "index", given_index, 1);
  const Array given = to_images(given_index, images);
  check_same_device(op, "images", images, "index", given);
  check_float32_channels(op, "scale", scale, images);
  check_float32_channels(op, "shift", shift, images);
  const Array index = contiguous(given);
  if (check)
    check_values({.op = op,
                  .values = index.raw(),
                  .count = index.numel(),
                  .low = 0,
                  .high = images.shape(0),
                  .index = index.shape(),
                  .array = images.shape(),
                  .fail = &fail_image},
                 index);
  return index;
}

}  // namespace

Array gather_images(const Array& given, const Array& given_index, const Array& given_scale,
                    const Array& given_shift, bool check) {
  const Array index = check_batch("gather_images", given, given_index, given_scale, given_shift, check);
  const Array images = contiguous(given), scale = contiguous(given_scale), shift = contiguous(given_shift);
  const std::int64_t count = index.numel(), C = images.shape(1), H = images.shape(2), W = images.shape(3);
  const Array out = Array::empty({count, C, H, W}, DType::float32, images.device());
  const GatherImagesArgs args{count,
                              C,
                              H * W,
                              images.shape(0),
                              out.data<float>(),
                              images.data<std::uint8_t>(),
                              index.data<std::int64_t>(),
                              scale.data<float>(),
                              shift.data<float>()};
  if (out.numel() > 0)
    current_stream(out.device())
        .submit("gather_images", backend(out.device()).gather_images, args,
                {&out, &images, &index, &scale, &shift});
  return out;
}

Array warp_images(const Array& given, const Array& given_index, const Array& given_theta, std::int64_t P,
                  std::int64_t Q, const Array& given_scale, const Array& given_shift, double fill,
                  bool check) {
  const char* op = "warp_images";
  const Array index = check_batch(op, given, given_index, given_scale, given_shift, check);
  check_type(given_theta.dtype() == DType::float64, op, ": theta must be float64, got ",
             name(given_theta.dtype()));
  check_value(given_theta.shape() == Dims{index.numel(), 2, 3}, op, ": theta ", given_theta.shape(),
              " must have shape ", Dims{index.numel(), 2, 3}, " (index ", index.shape(), ")");
  check_value(P > 0 && Q > 0, op, ": output_size must be positive, got (", P, ", ", Q, ")");
  check_value(fill >= 0 && fill <= 255, op, ": fill must be from 0 to 255, got ", fill);
  const Array theta = contiguous(to_images(given_theta, given)), images = contiguous(given);
  check_same_device(op, "images", images, "theta", theta);
  if (check)
    check_values({.op = op,
                  .rule = ElementRule::finite,
                  .values = theta.raw(),
                  .dtype = DType::float64,
                  .count = theta.numel(),
                  .index = theta.shape(),
                  .array = given.shape(),
                  .fail = &fail_theta},
                 theta);
  const Array scale = contiguous(given_scale), shift = contiguous(given_shift);
  const Array out = Array::empty({index.numel(), images.shape(1), P, Q}, DType::float32, images.device());
  const WarpImagesArgs args{index.numel(),
                            images.shape(1),
                            images.shape(2),
                            images.shape(3),
                            P,
                            Q,
                            images.shape(0),
                            out.data<float>(),
                            images.data<std::uint8_t>(),
                            index.data<std::int64_t>(),
                            theta.data<double>(),
                            scale.data<float>(),
                            shift.data<float>(),
                            fill};
  if (out.numel() > 0)
    current_stream(out.device())
        .submit("warp_images", backend(out.device()).warp_images, args,
                {&out, &images, &index, &theta, &scale, &shift});
  return out;
}

}  // namespace weft
