// Memory for the length of a kernel, from the caching allocator.
#pragma once
#include "core/allocator.h"

namespace weft::cpu::WEFT_ISA {

template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t count) : bytes_(static_cast<std::size_t>(count) * sizeof(T)) {
    data_ = static_cast<T*>(cpu_allocator().allocate(bytes_));
  }
  ~Scratch() { cpu_allocator().deallocate(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const { return data_; }
  T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  T* data_;
  std::size_t bytes_;
};

}  // namespace weft::cpu::WEFT_ISA
