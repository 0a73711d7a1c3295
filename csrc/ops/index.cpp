#include "ops/index.h"

#include <algorithm>

#include "backend.h"
#include "core/array.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/sizes.h"
#include "core/stream.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/overlap.h"

namespace weft {

namespace {

// Contiguous int64 indices, each at least `low` and below `n`, on x's device: those on the host are brought
// there.
Array checked_index(const char* op, const Array& given_index, std::int64_t low, std::int64_t n,
                    const Array& x, bool check = true) {
  const bool from_host = given_index.device().kind == Device::Kind::cpu;
  const Array given = from_host ? moved(given_index, x.device()) : given_index;
  check_same_device(op, "index", given, "input", x);
  check_type(given.dtype() == DType::int64 || given.dtype() == DType::int32, op,
             ": index must be int64 or int32, got ", name(given.dtype()));
  const Array index =
      given.dtype() == DType::int64 ? contiguous(given) : contiguous(cast(given, DType::int64));
  if (check) check_index(op, index, low, n, x.shape());
  return index;
}

// A contiguous array seen as (outer, axis, inner).
struct Blocks {
  std::int64_t outer = 1, inner = 1;
};

Blocks blocks(const Dims& shape, int axis) {
  Blocks b;
  for (int i = 0; i < axis; ++i) b.outer *= shape[i];
  for (int i = axis + 1; i < shape.n; ++i) b.inner *= shape[i];
  return b;
}

Dims with_size(Dims shape, int axis, std::int64_t size) {
  shape[axis] = size;
  return shape;
}

// What index_add and scatter_add ask of the array that they add to.
void check_target(const char* op, const Array& out, const Array& x) {
  check_same_dtype(op, "out", out, "input", x);
  check_same_device(op, "out", out, "input", x);
  check_type(out.dtype() != DType::bool_, op, ": out must be a number, got bool");
  refuse_bfloat16(op, "out", out);
  check_writable(op, out);
  check_value(out.is_contiguous(), op, ": out must be contiguous (shape ", out.shape(), ", strides ",
              out.strides(), ")");
}

}  // namespace

Array index_select(const Array& given, std::int64_t axis64, const Array& given_index, bool check) {
  const int axis = normalize_axis("index_select", axis64, given.ndim());
  check_rank("index_select", "index", given_index, 1);
  const std::int64_t n = given.shape(axis);
  const Array index = checked_index("index_select", given_index, -n, n, given, check), x = contiguous(given);
  const Array out = Array::empty(with_size(x.shape(), axis, index.numel()), x.dtype(), x.device());
  const auto [outer, inner] = blocks(x.shape(), axis);
  const IndexSelectArgs args{x.dtype(),     outer,     n,       inner,
                             index.numel(), out.raw(), x.raw(), index.data<std::int64_t>()};
  if (out.numel() > 0)
    current_stream(x.device())
        .submit("index_select", backend(x.device()).index_select, args, {&out, &x, &index});
  return out;
}

void index_add(const Array& out, std::int64_t axis64, const Array& given_index, const Array& given) {
  check_target("index_add", out, given);
  const int axis = normalize_axis("index_add", axis64, out.ndim());
  check_rank("index_add", "index", given_index, 1);
  const std::int64_t n = out.shape(axis), count = given_index.numel();
  check_value(given.shape() == with_size(out.shape(), axis, count), "index_add: input ", given.shape(),
              " must have the shape of out ", out.shape(), " with ", count, " (index ", given_index.shape(),
              ") along axis ", axis);
  const Array index = checked_index("index_add", apart(out, given_index), -n, n, out);
  const Array x = apart(out, contiguous(given));
  const auto [outer, inner] = blocks(out.shape(), axis);
  const IndexSelectArgs args{out.dtype(), outer,     n,       inner,
                             count,       out.raw(), x.raw(), index.data<std::int64_t>()};
  if (x.numel() > 0)
    current_stream(out.device())
        .submit("index_add", backend(out.device()).index_add, args, {&out, &x, &index});
}

Array gather(const Array& given, std::int64_t axis64, const Array& given_index) {
  const int axis = normalize_axis("gather", axis64, given.ndim());
  check_value(given_index.ndim() == given.ndim() &&
                  given_index.shape() == with_size(given.shape(), axis, given_index.shape(axis)),
              "gather: index ", given_index.shape(), " and input ", given.shape(),
              " must have the same shape but for axis ", axis);
  const std::int64_t n = given.shape(axis);
  const Array index = checked_index("gather", given_index, -n, n, given), x = contiguous(given);
  const Array out = Array::empty(index.shape(), x.dtype(), x.device());
  const auto [outer, inner] = blocks(x.shape(), axis);
  const GatherArgs args{x.dtype(),         outer,     n,       inner,
                        index.shape(axis), out.raw(), x.raw(), index.data<std::int64_t>()};
  if (out.numel() > 0)
    current_stream(x.device()).submit("gather", backend(x.device()).gather, args, {&out, &x, &index});
  return out;
}

void scatter_add(const Array& out, std::int64_t axis64, const Array& given_index, const Array& given) {
  check_target("scatter_add", out, given);
  const int axis = normalize_axis("scatter_add", axis64, out.ndim());
  check_same_shape("scatter_add", "index", given_index, "input", given);
  check_value(given.ndim() == out.ndim() && given.shape() == with_size(out.shape(), axis, given.shape(axis)),
              "scatter_add: input ", given.shape(), " and out ", out.shape(),
              " must have the same shape but for axis ", axis);
  const std::int64_t n = out.shape(axis);
  const Array index = checked_index("scatter_add", apart(out, given_index), -n, n, out);
  const Array x = apart(out, contiguous(given));
  const auto [outer, inner] = blocks(out.shape(), axis);
  const GatherArgs args{out.dtype(),       outer,     n,       inner,
                        index.shape(axis), out.raw(), x.raw(), index.data<std::int64_t>()};
  if (x.numel() > 0)
    current_stream(out.device())
        .submit("scatter_add", backend(out.device()).scatter_add, args, {&out, &x, &index});
}

Array one_hot(const Array& given, std::int64_t classes, DType dtype) {
  check_value(classes >= -1, "one_hot: num_classes must be positive, or -1 to count them, got ", classes);
  constexpr std::int64_t any = std::int64_t{1} << 53;
  const Array index = checked_index("one_hot", given, 0, classes >= 0 ? classes : any, given);
  if (classes < 0) {
    check_value(index.numel() > 0, "one_hot: num_classes must be given for an empty index ", index.shape());
    const Array here = on_host("one_hot(num_classes=-1)", index);
    const auto* values = here.data<std::int64_t>();
    classes = *std::max_element(values, values + index.numel()) + 1;
  }
  Dims shape = index.shape();
  shape.push_back(classes);
  const Array out = Array::empty(shape, dtype, index.device());
  refuse_bfloat16("one_hot", "the result", out);
  const OneHotArgs args{dtype, index.numel(), classes, out.raw(), index.data<std::int64_t>()};
  if (out.numel() > 0)
    current_stream(out.device()).submit("one_hot", backend(out.device()).one_hot, args, {&out, &index});
  return out;
}

Array concatenate(const Array* arrays, int count, std::int64_t axis64) {
  check_value(count > 0, "cat: expected at least one array");
  const Array& first = arrays[0];
  const int axis = normalize_axis("cat", axis64, first.ndim());
  Size size;
  MemoryFormat format = MemoryFormat::channels_last;  // where all are so
  for (int i = 0; i < count; ++i) {
    const Array& x = arrays[i];
    if (x.memory_format() != format) format = MemoryFormat::contiguous;
    check_same_dtype("cat", "the first array", first, "another", x);
    check_same_device("cat", "the first array", first, "another", x);
    check_value(x.ndim() == first.ndim() && x.shape() == with_size(first.shape(), axis, x.shape(axis)),
                "cat: shapes ", first.shape(), " and ", x.shape(), " must be the same but for axis ", axis);
    size = size + x.shape(axis);
  }
  check_value(size.fits, "cat: the arrays have ", size, " elements along axis ", axis);
  const Array out =
      Array::empty(with_size(first.shape(), axis, size.value), first.dtype(), first.device(), format);
  std::int64_t at = 0;
  for (int i = 0; i < count; ++i) {
    const std::int64_t length = arrays[i].shape(axis);
    if (length > 0) copy_into(out.slice(axis, at, length, 1), arrays[i]);
    at += length;
  }
  return out;
}

Array stack(const Array* arrays, int count, std::int64_t axis64) {
  check_value(count > 0, "stack: expected at least one array");
  const Array& first = arrays[0];
  const int axis = normalize_axis("stack", axis64, first.ndim() + 1);
  Dims shape = first.shape();
  shape.insert(axis, count);
  const Array out = Array::empty(shape, first.dtype(), first.device());
  for (int i = 0; i < count; ++i) {
    check_same_dtype("stack", "the first array", first, "another", arrays[i]);
    check_same_device("stack", "the first array", first, "another", arrays[i]);
    check_same_shape("stack", "the first array", first, "another", arrays[i]);
    copy_into(out.select(axis, i), arrays[i]);
  }
  return out;
}

Array pad(const Array& x, const Dims& before, const Dims& after, double value) {
  check_value(before.n == x.ndim() && after.n == x.ndim(), "pad: widths before ", before, " and after ",
              after, " must have one number for each axis of shape ", x.shape());
  Dims shape = x.shape();
  bool grows = false;
  for (int i = 0; i < x.ndim(); ++i) {
    const Size size = Size(shape[i]) + before[i] + after[i];
    // The elements of the input that go in front, or behind, are among those that there are.
    const bool crops = (Size(before[i]) + shape[i]).value < 0 || (Size(after[i]) + shape[i]).value < 0;
    check_value(size.fits, "pad: widths before ", before, " and after ", after, " make shape ", x.shape(),
                " larger than 64 bits can tell");
    check_value(size.value >= 0 && !crops, "pad: widths before ", before, " and after ", after,
                " crop more than there is of shape ", x.shape());
    shape[i] = size.value;
    grows |= before[i] > 0 || after[i] > 0;
  }
  const Array out = Array::empty(shape, x.dtype(), x.device(), x.memory_format());
  if (grows) fill(out, value, is_floating(x.dtype()) ? 0 : whole("pad", value, x.dtype()));
  Array from = x, to = out;
  for (int i = 0; i < x.ndim(); ++i) {
    // Elements [first, last) of the input survive.
    const std::int64_t first = std::max<std::int64_t>(0, -before[i]);
    const std::int64_t last = x.shape(i) + std::min<std::int64_t>(0, after[i]);
    if (last <= first) return out;
    from = from.slice(i, first, last - first, 1);
    to = to.slice(i, first + before[i], last - first, 1);
  }
  copy_into(to, from);
  return out;
}

}  // namespace weft
