// Arithmetic of the sizes that users give. A Size remembers that some result did not fit into 64 bits, so a
// formula is written as it stands in the book and asked once, at its end.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <ostream>

#include "core/dims.h"

namespace weft {

struct Size {
  std::int64_t value = 0;
  bool fits = true;

  constexpr Size() = default;
  constexpr Size(std::int64_t given) : value(given) {}

  friend Size operator+(Size a, Size b) {
    Size sum;
    sum.fits = !__builtin_add_overflow(a.value, b.value, &sum.value) && a.fits && b.fits;
    return sum;
  }
  friend Size operator-(Size a, Size b) {
    Size difference;
    difference.fits = !__builtin_sub_overflow(a.value, b.value, &difference.value) && a.fits && b.fits;
    return difference;
  }
  friend Size operator*(Size a, Size b) {
    Size product;
    product.fits = !__builtin_mul_overflow(a.value, b.value, &product.value) && a.fits && b.fits;
    return product;
  }
  friend std::ostream& operator<<(std::ostream& out, Size size) {
    return size.fits ? out << size.value : out << "a number beyond 64 bits";
  }
};

// What an option that counts elements (a stride, a padding) may be at most: products of two such fit.
constexpr std::int64_t most_of_an_option = 0x7fffffff;

// The number of elements of a shape that a user gave. ValueError, naming `op`, for a negative entry, and
// where the product of the entries other than 0 is 2^58 or more. So the products of any entries of an array's
// shape, its strides without gaps, and its bytes fit into 64 bits: whoever has an array need not look again.
std::int64_t element_count(const char* op, const Dims& shape);

// ValueError where an operation of that many multiplications, each factor of 0 left out, has 2^62 or more:
// kernels weigh work by such products.
void check_work(const char* op, std::initializer_list<std::int64_t> factors);

}  // namespace weft
