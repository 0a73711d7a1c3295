// Random numbers by Philox4x32-10 (core/philox.h), and dropout.
//
// Element i of a call takes word i % 4 of block offset + i / 4 (float64 normals: as below); a call advances
// the generator's offset by ceil(n / 4) blocks, so the values depend on the seed, the calls before and n,
// never on threads, instruction set or device (core/box_muller.h).
//   uniform    a + (b - a) u, u in [0, 1) with 24 bits (float32) or 32 bits (float64); never b itself
//   normal     a + b z; z_2k, z_2k+1 = sqrt(-2 ln u1) cos, sin (2 pi u2) (Box, Muller 1958) with u1 in (0, 1]
//              and u2 from words 2k, 2k+1
//   bernoulli  1 with probability a, else 0
//   randint    integers in [a, b): a + floor(u (b - a)) with a 32-bit u; b - a <= 2^32
//   dropout    out = x mask / (1 - p), mask bernoulli(1 - p); p = 1 gives 0
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "core/enum.h"

namespace weft {

class Array;
class Generator;
struct Device;
struct Dims;

#define WEFT_RANDOM_KINDS(F) F(uniform) F(normal) F(bernoulli) F(randint)
enum class RandomKind : std::uint8_t { WEFT_RANDOM_KINDS(WEFT_ENUM_MEMBER) };

// The offset of a stream, a count of blocks of four words modulo 2^64, after n words.
[[gnu::always_inline]] inline std::int64_t advanced(std::int64_t offset, std::int64_t n) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(offset) +
                                   static_cast<std::uint64_t>((n + 3) / 4));
}

struct RandomArgs {
  RandomKind kind;
  DType dtype;
  std::int64_t n;
  void* out;
  std::int64_t* state;  // [seed, offset], Generator::state(); the kernel advances the offset
  double a, b;
};
struct DropoutArgs {
  DType dtype;
  std::int64_t n;
  void* out;            // forward: out; backward: dx
  std::uint8_t* mask;   // forward: written; backward: read
  const void* x;        // forward: x; backward: dout
  std::int64_t* state;  // forward: as above; backward: null
  double p;
};

// In place on any array.
void random_fill(RandomKind kind, const Array& out, double a, double b, Generator& generator);
// A permutation of 0 .. n-1 (Fisher, Yates), int64.
Array randperm(std::int64_t n, Generator& generator);
Array dropout(const Array& x, double p, Generator& generator, Array& mask);
Array dropout_backward(const Array& dout, const Array& mask, double p);

}  // namespace weft
