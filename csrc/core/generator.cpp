#include "core/generator.h"

#include <map>
#include <memory>
#include <optional>

#include "core/cuda.h"
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

Generator& default_generator(Device device) {
  static std::mutex mutex;
  static auto* generators = new std::map<int, std::unique_ptr<Generator>>;  // never destroyed
  const std::lock_guard lock(mutex);
  auto& generator = (*generators)[device.kind == Device::Kind::cpu ? -1 : device.index];
  if (!generator) {
    const Unrecorded made_once;
    generator = std::make_unique<Generator>(0, device);
  }
  return *generator;
}

void seed_all(std::uint64_t seed) {
  // A capture keeps the seeding on its own device; the others are seeded now.
  const Recording* const recording = Recording::active();
  const auto set = [&](Device device) {
    std::optional<Unrecorded> now;
    if (recording && !(recording->device() == device)) now.emplace();
    default_generator(device).manual_seed(seed);
  };
  set({});
  const int devices = cuda::device_count();
  for (int i = 0; i < devices; ++i) set({Device::Kind::cuda, i});
}

}  // namespace weft
