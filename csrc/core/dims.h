// Dims: a shape, strides or a list of axes. Held inline, because an operation makes several of them
// and a heap allocation would cost more than a small kernel.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <iosfwd>

namespace weft {

constexpr int max_rank = 8;

[[noreturn]] void too_many_dimensions();  // ValueError

struct Dims {
  std::int64_t v[max_rank] = {};
  int n = 0;

  Dims() = default;
  Dims(std::initializer_list<std::int64_t> values) {
    for (std::int64_t value : values) push_back(value);
  }

  int size() const { return n; }
  bool empty() const { return n == 0; }
  std::int64_t& operator[](int i) { return v[i]; }
  std::int64_t operator[](int i) const { return v[i]; }
  const std::int64_t* begin() const { return v; }
  const std::int64_t* end() const { return v + n; }
  std::int64_t* begin() { return v; }
  std::int64_t* end() { return v + n; }
  std::int64_t back() const { return v[n - 1]; }

  void push_back(std::int64_t value) {
    if (n >= max_rank) too_many_dimensions();
    v[n++] = value;
  }
  void insert(int at, std::int64_t value) {
    push_back(0);
    for (int i = n - 1; i > at; --i) v[i] = v[i - 1];
    v[at] = value;
  }
  void erase(int at) {
    for (int i = at; i + 1 < n; ++i) v[i] = v[i + 1];
    --n;
  }
  bool operator==(const Dims& other) const {
    if (n != other.n) return false;
    for (int i = 0; i < n; ++i)
      if (v[i] != other.v[i]) return false;
    return true;
  }
};

// The product of all entries; 1 for a scalar's empty shape.
inline std::int64_t product(const Dims& dims) {
  std::int64_t result = 1;
  for (std::int64_t d : dims) result *= d;
  return result;
}

// Row-major strides, in elements.
inline Dims contiguous_strides(const Dims& shape) {
  Dims strides = shape;
  std::int64_t step = 1;
  for (int i = shape.n - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

// The order in which the elements of an array of rank 4, (N, C, H, W), lie in memory; torch's names.
enum class MemoryFormat : std::uint8_t {
  contiguous,     // row-major: the columns of an image's row lie together
  channels_last,  // N, H, W, C: the channels of a pixel lie together
  preserve,       // that of the operand
};

// Strides of channels_last, in elements.
inline Dims channels_last_strides(const Dims& shape) {
  const std::int64_t C = shape[1], H = shape[2], W = shape[3];
  return {H * W * C, 1, W * C, C};
}

// Prints as Python prints a tuple: (), (3,), (2, 3).
std::ostream& operator<<(std::ostream& out, const Dims& dims);

// An axis counted from the end if negative. IndexError out of range; `op` goes into the message.
int normalize_axis(const char* op, std::int64_t axis, int ndim);

}  // namespace weft
