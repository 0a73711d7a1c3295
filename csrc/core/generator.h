// A stream of random numbers: a seed and a count of the 4-word Philox blocks used so far. The count lies
// in an Array, because a replayed launch must find the present one there.
#pragma once
#include <cstdint>
#include <mutex>

#include "core/array.h"
#include "core/fork_mutex.h"

namespace weft {

class Generator {
 public:
  explicit Generator(std::uint64_t seed = 0, Device device = {}) : device_(device) { manual_seed(seed); }
  void manual_seed(std::uint64_t seed);
  Device device() const { return device_; }  // where the state lies, and whose arrays it can fill
  std::uint64_t seed() const;
  std::uint64_t offset() const;  // blocks used
  void set_state(std::uint64_t seed, std::uint64_t offset);
  // int64 [seed, offset]; a kernel reads it and afterwards adds the blocks it used to the offset.
  const Array& state() const { return state_; }
  // Held while numbers are drawn: several Python threads may share a generator.
  [[nodiscard]] std::unique_lock<ForkMutex> hold() { return std::unique_lock(mutex_); }

 private:
  Device device_;
  Array state_;
  ForkMutex mutex_{ForkMutex::Level::draws};
};

// One for each device. All give the same numbers for the same seed.
Generator& default_generator(Device device);
void seed_all(std::uint64_t seed);

}  // namespace weft
