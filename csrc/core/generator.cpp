#include "core/generator.h"

#include <map>
#include <memory>
#include <optional>

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
  std::mutex mutex;
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
  const std::lock_guard lock(all.mutex);
  auto& generator = all.made[device.kind == Device::Kind::cpu ? -1 : device.index];
  if (!generator) {
    const Unrecorded made_once;
    generator = std::make_unique<Generator>(all.seed, device);
  }
  return *generator;
}

void seed_all(std::uint64_t seed) {
  Defaults& all = defaults();
  default_generator({});
  const std::lock_guard lock(all.mutex);
  all.seed = seed;
  // A capture keeps the seeding on its own device; the others are seeded now.
  const Recording* const recording = Recording::active();
  for (const auto& [index, generator] : all.made) {
    std::optional<Unrecorded> now;
    if (recording && !(recording->device() == generator->device())) now.emplace();
    generator->manual_seed(seed);
  }
}

}  // namespace weft
