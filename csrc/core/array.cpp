#include "core/array.h"

#include <cstdlib>

#include "core/allocator.h"
#include "core/cuda.h"
#include "core/destinations.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/sizes.h"
#include "core/stream.h"

namespace weft {

namespace {

std::size_t checked_bytes(const Dims& shape, DType dtype) {
  return static_cast<std::size_t>(element_count("empty", shape)) * itemsize(dtype);
}

// In a recording's pool. Poison, too, is a step: a replay then shows an element that no kernel writes.
Array empty_in(Recording& recording, const Dims& shape, DType dtype, std::size_t bytes) {
  auto storage = std::make_shared<Storage>();
  const std::shared_ptr<Pool>& pool = recording.pool();
  storage->data = pool->allocate(bytes);
  storage->nbytes = bytes;
  storage->device = recording.device();
  storage->pool = pool.get();
  storage->stream = pool->last_user(storage->data);
  storage->release = [pool, own = storage.get()] {
    pool->deallocate_after(own->stream, own->data, own->nbytes);
  };
  const Array result(std::move(storage), 0, shape, contiguous_strides(shape), dtype);
  if (poison()) fill_bytes(result, 0xFF);
  return result;
}

// Memory that is nobody's destination: those are row-major.
Array fresh(const Dims& shape, DType dtype, Device device) {
  Recording* recording = Recording::active();
  if (recording && recording->device() == device)
    return empty_in(*recording, shape, dtype, checked_bytes(shape, dtype));
  return Array::constant(shape, dtype, device);
}

}  // namespace

void Storage::free_owned() { owner->deallocate_after(stream, data, nbytes); }

void Storage::release_foreign() {
  // A pool's blocks are used again in the order of its own steps; others may do with theirs what they like.
  if (Stream* const last = stream; last && !pool) cuda::finish(*last);
  release();
}

Array Array::constant(const Dims& shape, DType dtype, Device device) {
  const std::size_t bytes = checked_bytes(shape, dtype);
  auto storage = std::make_shared<Storage>();
  Allocator& source = allocator(device);
  storage->data = source.allocate(bytes);
  storage->nbytes = bytes;
  storage->device = device;
  storage->owner = &source;
  return Array(std::move(storage), 0, shape, contiguous_strides(shape), dtype);
}

Array Array::empty(const Dims& shape, DType dtype, Device device) {
  if (Array place = take_destination(shape, dtype, device); place.defined()) return place;
  return fresh(shape, dtype, device);
}

Array Array::empty(const Dims& shape, DType dtype, Device device, MemoryFormat format) {
  if (format != MemoryFormat::channels_last) return empty(shape, dtype, device);
  return fresh(shape, dtype, device).with(shape, channels_last_strides(shape), 0);
}

Array Array::empty_like(const Array& x, DType dtype) {
  if (x.is_contiguous()) return empty(x.shape_, dtype, x.device());
  if (!x.is_dense()) return empty(x.shape_, dtype, x.device(), x.memory_format());
  return fresh(x.shape_, dtype, x.device()).with(x.shape_, x.strides_, 0);
}

bool Array::is_contiguous() const {
  std::int64_t step = 1;
  for (int i = shape_.n - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != step) return numel() == 0;
    step *= shape_[i];
  }
  return true;
}

bool Array::is_contiguous(MemoryFormat format) const {
  if (format == MemoryFormat::contiguous) return is_contiguous();
  check_value(format == MemoryFormat::channels_last, "is_contiguous: memory_format must not be preserve");
  return shape_.n == 4 && permute({0, 2, 3, 1}).is_contiguous();
}

Dims Array::axes_by_stride() const {
  Dims order;
  for (int i = 0; i < shape_.n; ++i) {
    if (shape_[i] <= 1) continue;
    int at = order.n;
    order.push_back(i);
    const auto step = [&](int k) { return std::abs(strides_[static_cast<int>(order[k])]); };
    for (; at > 0 && step(at - 1) > std::abs(strides_[i]); --at) order[at] = order[at - 1];
    order[at] = i;
  }
  return order;
}

bool Array::is_dense() const {
  if (numel() == 0) return true;
  std::int64_t step = 1;
  for (std::int64_t axis : axes_by_stride()) {
    if (strides_[static_cast<int>(axis)] != step) return false;
    step *= shape_[static_cast<int>(axis)];
  }
  return true;
}

MemoryFormat Array::memory_format() const {
  if (shape_.n != 4 || strides_[1] == 0) return MemoryFormat::contiguous;
  std::int64_t least = 0;  // what the next stride must be at least
  for (const int axis : {1, 3, 2, 0}) {
    // Images of one pixel, and rows of one channel, that lie in both orders alike are not channels_last.
    if (shape_[axis] == 0 || strides_[axis] < least || (axis == 0 && least == strides_[1]))
      return MemoryFormat::contiguous;
    least = strides_[axis] * (shape_[axis] > 1 ? shape_[axis] : 1);
  }
  return MemoryFormat::channels_last;
}

Array Array::permute(const Dims& axes) const {
  check_value(axes.n == shape_.n, "permute: axes ", axes, " do not match shape ", shape_);
  Dims shape = shape_, strides = strides_;
  bool seen[max_rank] = {};
  for (int i = 0; i < axes.n; ++i) {
    const int axis = normalize_axis("permute", axes[i], shape_.n);
    check_value(!seen[axis], "permute: axes ", axes, " repeat axis ", axis);
    seen[axis] = true;
    shape[i] = shape_[axis];
    strides[i] = strides_[axis];
  }
  return with(shape, strides, offset_);
}

Array Array::transpose(std::int64_t a, std::int64_t b) const {
  const int i = normalize_axis("transpose", a, shape_.n), j = normalize_axis("transpose", b, shape_.n);
  Dims shape = shape_, strides = strides_;
  std::swap(shape[i], shape[j]);
  std::swap(strides[i], strides[j]);
  return with(shape, strides, offset_);
}

Array Array::expand(const Dims& shape) const {
  check_value(shape.n >= shape_.n, "expand: shape ", shape_, " has more dimensions than ", shape);
  Dims target = shape, strides = shape;
  const int extra = shape.n - shape_.n;
  for (int i = 0; i < shape.n; ++i) {
    const std::int64_t have = i < extra ? 1 : shape_[i - extra];
    if (target[i] == -1 && i >= extra) target[i] = have;
    check_value(target[i] >= 0 && (have == target[i] || have == 1), "expand: shape ", shape_,
                " cannot be expanded to ", shape);
    strides[i] = have == target[i] && i >= extra ? strides_[i - extra] : 0;
  }
  element_count("expand", target);
  return with(target, strides, offset_);
}

Array Array::slice(std::int64_t axis, std::int64_t start, std::int64_t length, std::int64_t step) const {
  const int i = normalize_axis("slice", axis, shape_.n);
  check_value(length >= 0 && step != 0, "slice: length ", length, ", step ", step);
  const Size last = Size(start) + Size(step) * Size(length > 0 ? length - 1 : 0);
  if (length > 0 &&
      (start < 0 || start >= shape_[i] || !last.fits || last.value < 0 || last.value >= shape_[i]))
    throw IndexError(
        str("slice: elements ", start, " to ", last, " of axis ", i, " are out of range for shape ", shape_));
  Dims shape = shape_, strides = strides_;
  shape[i] = length;
  // Of one element, or none, a step may be as large as it likes.
  if (const Size stride = Size(strides_[i]) * Size(step); stride.fits) strides[i] = stride.value;
  return with(shape, strides, length > 0 ? offset_ + start * strides_[i] : offset_);
}

Array Array::select(std::int64_t axis, std::int64_t index) const {
  const int i = normalize_axis("select", axis, shape_.n);
  const std::int64_t at = index < 0 ? index + shape_[i] : index;
  if (at < 0 || at >= shape_[i])
    throw IndexError(str("index ", index, " is out of range for axis ", i, " of shape ", shape_));
  Dims shape = shape_, strides = strides_;
  const std::int64_t offset = offset_ + at * strides[i];
  shape.erase(i);
  strides.erase(i);
  return with(shape, strides, offset);
}

Array Array::squeeze(std::int64_t axis) const {
  const int i = normalize_axis("squeeze", axis, shape_.n);
  check_value(shape_[i] == 1, "squeeze: axis ", axis, " of shape ", shape_, " is not of size 1");
  Dims shape = shape_, strides = strides_;
  shape.erase(i);
  strides.erase(i);
  return with(shape, strides, offset_);
}

Array Array::unsqueeze(std::int64_t axis) const {
  const int i = normalize_axis("unsqueeze", axis, shape_.n + 1);
  Dims shape = shape_, strides = strides_;
  shape.insert(i, 1);
  strides.insert(i, 1);
  return with(shape, strides, offset_);
}

namespace {

// Replaces a -1 in `shape` by what is missing for `count` elements.
Dims complete_shape(const Dims& shape, const Dims& from, std::int64_t count) {
  Dims result = shape;
  int unknown = -1;
  for (int i = 0; i < shape.n; ++i) {
    check_value(shape[i] >= 0 || (shape[i] == -1 && unknown < 0), "reshape: shape ", shape,
                " has a negative entry");
    if (shape[i] == -1) unknown = i;
  }
  if (unknown >= 0) result[unknown] = 1;
  const std::int64_t known = element_count("reshape", result);
  const bool ambiguous = unknown >= 0 && known == 0;
  if (unknown >= 0 && !ambiguous) result[unknown] = count / known;
  check_value(!ambiguous && element_count("reshape", result) == count, "reshape: shape ", from,
              " cannot be viewed as ", shape);
  return result;
}

}  // namespace

Array Array::try_reshape(const Dims& wanted) const {
  const Dims shape = complete_shape(wanted, shape_, numel());
  if (is_contiguous()) return with(shape, contiguous_strides(shape), offset_);  // what is empty is so too
  // Walk both shapes from the end: each run of dimensions that lies evenly in memory is split anew.
  Dims old_shape, old_strides;
  for (int axis = 0; axis < shape_.n; ++axis) {
    if (shape_[axis] == 1) continue;
    old_shape.push_back(shape_[axis]);
    old_strides.push_back(strides_[axis]);
  }
  Dims strides = shape;
  int j = shape.n - 1;
  for (int i = old_shape.n - 1; i >= 0; --i) {
    std::int64_t run = old_shape[i], step = old_strides[i];
    for (; i > 0 && old_strides[i - 1] == old_shape[i] * old_strides[i]; --i) run *= old_shape[i - 1];
    for (; j >= 0 && (run > 1 || shape[j] == 1); --j) {
      if (run % shape[j] != 0) return {};
      strides[j] = step;
      step *= shape[j];
      run /= shape[j];
    }
    if (run != 1) return {};
  }
  for (; j >= 0; --j) strides[j] = 1;
  return with(shape, strides, offset_);
}

Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b) {
  const Dims& longer = a.n >= b.n ? a : b;
  const Dims& shorter = a.n >= b.n ? b : a;
  Dims result = longer;
  const int extra = longer.n - shorter.n;
  for (int i = 0; i < shorter.n; ++i) {
    const std::int64_t p = longer[i + extra], q = shorter[i];
    check_value(p == q || p == 1 || q == 1, op, ": shapes ", a, " and ", b, " do not broadcast");
    result[i + extra] = p == 1 ? q : p;
  }
  return result;
}

}  // namespace weft
