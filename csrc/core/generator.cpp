#include "core/generator.h"

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/memory.h"
#include "core/recording.h"

namespace weft {

void Generator::manual_seed(std::uint64_t seed) { set_state(seed, 0); }

void Generator::set_state(std::uint64_t seed, std::uint64_t offset) {
  if (!state_.defined()) state_ = Array::constant({2}, DType::int64, device_);
  write_words(state_, {state_.data<std::uint64_t>(), 2, {seed, offset}});
}

std::uint64_t Generator::seed() const { return on_host("Generator.seed", state_).data<std::uint64_t>()[0]; }
std::uint64_t Generator::offset() const {
  return on_host("Generator.offset", state_).data<std::uint64_t>()[1];
}

namespace {

// The default generators made so far, by device, and the seed of those to come: a device is not touched
// before it is used.
struct Defaults {
  ForkMutex mutex{ForkMutex::Level::defaults};
  std::map<int, std::unique_ptr<Generator>> made;
  std::uint64_t seed = 0;
};
Defaults& defaults() {
  static auto* all = new Defaults;  // never destroyed
  return *all;
}

}  // namespace

Generator& default_generator(Device device) {
  Defaults& all = defaults();
  const int index = device.kind == Device::Kind::cpu ? -1 : device.index;
  std::unique_ptr<Generator> made;
  for (;;) {
    std::uint64_t seed;
    {
      const std::lock_guard lock(all.mutex);
      std::unique_ptr<Generator>& generator = all.made[index];
      if (!generator) generator = std::move(made);
      if (generator) return *generator;
      seed = all.seed;
    }
    // Outside of the lock, because a generator's own lock is made known to those who fork.
    const Unrecorded made_once;
    made = std::make_unique<Generator>(seed, device);
  }
}

void seed_all(std::uint64_t seed) {
  Defaults& all = defaults();
  default_generator({});
  std::vector<Generator*> made;
  {
    const std::lock_guard lock(all.mutex);
    all.seed = seed;
    for (const auto& [index, generator] : all.made)
      if (generator) made.push_back(generator.get());
  }
  // A capture keeps the seeding on its own device; the others are seeded now.
  const Recording* const recording = Recording::active();
  for (Generator* generator : made) {
    std::optional<Unrecorded> now;
    if (recording && !(recording->device() == generator->device())) now.emplace();
    generator->manual_seed(seed);
  }
}

}  // namespace weft
