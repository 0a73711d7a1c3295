#include "core/generator.h"

#include "core/stream.h"

namespace weft {

namespace {

struct SetStateArgs {
  std::uint64_t* words;
  std::uint64_t seed, offset;
};
void write_state(Stream&, const SetStateArgs& args) {
  args.words[0] = args.seed;
  args.words[1] = args.offset;
}

}  // namespace

void Generator::manual_seed(std::uint64_t seed) { set_state(seed, 0); }

void Generator::set_state(std::uint64_t seed, std::uint64_t offset) {
  if (!state_.defined()) state_ = Array::constant({2}, DType::int64);
  current_stream(state_.device())
      .submit("set_generator", &write_state, SetStateArgs{state_.data<std::uint64_t>(), seed, offset},
              {&state_});
}

std::uint64_t Generator::seed() const {
  host_read("Generator.seed");
  return state_.data<std::uint64_t>()[0];
}
std::uint64_t Generator::offset() const {
  host_read("Generator.offset");
  return state_.data<std::uint64_t>()[1];
}

Generator& default_generator() {
  static auto* generator = [] {
    const Unrecorded made_once;
    return new Generator(0);
  }();
  return *generator;
}

}  // namespace weft
