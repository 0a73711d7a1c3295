#include "core/generator.h"

namespace weft {

void Generator::manual_seed(std::uint64_t seed) { set_state(seed, 0); }

void Generator::set_state(std::uint64_t seed, std::uint64_t offset) {
  if (!state_.defined()) state_ = Array::empty({2}, DType::int64);
  auto* words = state_.data<std::uint64_t>();
  words[0] = seed;
  words[1] = offset;
}

std::uint64_t Generator::seed() const { return state_.data<std::uint64_t>()[0]; }
std::uint64_t Generator::offset() const { return state_.data<std::uint64_t>()[1]; }

Generator& default_generator() {
  static auto* generator = new Generator(0);
  return *generator;
}

}  // namespace weft
