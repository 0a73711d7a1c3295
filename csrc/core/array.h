// Array: storage + shape + strides + dtype + device. Views share the storage. Knows no operation.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/device.h"
#include "core/dims.h"
#include "core/dtype.h"

namespace weft {

class Allocator;
class Pool;
class Stream;

// A block of memory: of an allocator, or foreign (NumPy's, DLPack's) with a release function.
struct Storage {
  void* data = nullptr;
  std::size_t nbytes = 0;
  Device device;
  bool writable = true;
  bool pinned = false;         // host memory that a device can read by itself
  std::uint64_t version = 0;   // counts in-place updates, so that autograd sees a stale saved value
  Allocator* owner = nullptr;  // lives longer than any array
  // Of a device, or pinned: the stream that used it last (Stream::use).
  std::atomic<Stream*> stream{nullptr};
  const Pool* pool = nullptr;     // of the recording that it was made in; `release` keeps it
  std::function<void()> release;  // may run on any thread; once no stream uses the memory any more

  Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage() {
    if (owner) free_owned();
    if (release) release_foreign();
  }
  void free_owned();
  void release_foreign();
};

class Array {
 public:
  Array() = default;  // undefined: stands for an optional argument that was not given
  Array(std::shared_ptr<Storage> storage, std::int64_t offset, Dims shape, Dims strides, DType dtype)
      : storage_(std::move(storage)), offset_(offset), shape_(shape), strides_(strides), dtype_(dtype) {}

  static Array empty(const Dims& shape, DType dtype, Device device = {});
  // `format`: contiguous, or for rank 4 channels_last.
  static Array empty(const Dims& shape, DType dtype, Device device, MemoryFormat format);
  // x's shape and, where no memory lies between its elements, x's strides; else its memory format.
  static Array empty_like(const Array& x, DType dtype);
  // For what the host writes: memory that no recording hands out again.
  static Array constant(const Dims& shape, DType dtype, Device device = {});

  bool defined() const { return storage_ != nullptr; }
  const Dims& shape() const { return shape_; }
  const Dims& strides() const { return strides_; }  // in elements
  std::int64_t shape(int axis) const { return shape_[axis < 0 ? axis + shape_.n : axis]; }
  int ndim() const { return shape_.n; }
  std::int64_t numel() const { return product(shape_); }
  std::size_t nbytes() const { return static_cast<std::size_t>(numel()) * itemsize(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device; }
  std::int64_t offset() const { return offset_; }
  const std::shared_ptr<Storage>& storage() const { return storage_; }

  void* raw() const {
    return static_cast<char*>(storage_->data) + offset_ * static_cast<std::int64_t>(itemsize(dtype_));
  }
  template <class T>
  T* data() const {
    return static_cast<T*>(raw());
  }
  bool is_contiguous() const;  // row-major, no gaps
  bool is_contiguous(MemoryFormat format) const;
  bool is_dense() const;  // row-major in some order of the axes: no gaps, nothing shared
  // The axes of more than one element, from the smallest step in memory to the largest, whatever its
  // direction.
  Dims axes_by_stride() const;
  // What the strides say: channels_last for rank 4 with the channels innermost, then columns, rows, images
  // (there may be gaps; where sizes of 1 leave it open, their strides decide). Else contiguous.
  MemoryFormat memory_format() const;

  // Views: no element is copied. Errors name `op`.
  Array with(const Dims& shape, const Dims& strides, std::int64_t offset) const {
    return Array(storage_, offset, shape, strides, dtype_);
  }
  Array permute(const Dims& axes) const;
  Array transpose(std::int64_t a, std::int64_t b) const;
  Array expand(const Dims& shape) const;  // broadcast: stride 0
  Array slice(std::int64_t axis, std::int64_t start, std::int64_t length, std::int64_t step) const;
  Array select(std::int64_t axis, std::int64_t index) const;
  Array squeeze(std::int64_t axis) const;
  Array unsqueeze(std::int64_t axis) const;
  // A view in another shape (one entry may be -1), or an undefined Array where strides forbid it.
  Array try_reshape(const Dims& shape) const;

 private:
  std::shared_ptr<Storage> storage_;
  std::int64_t offset_ = 0;  // in elements
  Dims shape_;
  Dims strides_;
  DType dtype_ = DType::float32;
};

// NumPy's rule. ValueError: "add: shapes (2, 3) and (4,) do not broadcast".
Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b);

// The allocator of a device. RuntimeError where this build or machine has no such device.
Allocator& allocator(Device device);

}  // namespace weft
