// A recorded sequence of launches as a function: inputs are copied into the memory that was recorded as
// theirs, the launches run, and the outputs are handed out, as they are or as copies. No Python in between.
#pragma once
#include <atomic>
#include <vector>

#include "core/array.h"
#include "core/recording.h"

namespace weft {

class Replay {
 public:
  Replay(Device device, bool strict) : recording(device, strict) {}

  // The arrays that stand for arguments and results. Call both before the first replay.
  void set_inputs(std::vector<Array> inputs) { inputs_ = std::move(inputs); }
  void set_outputs(std::vector<Array> outputs) { outputs_ = std::move(outputs); }
  const std::vector<Array>& inputs() const { return inputs_; }
  const std::vector<Array>& outputs() const { return outputs_; }

  // ValueError or TypeError for inputs of other shapes or dtypes than recorded; RuntimeError while it runs in
  // another thread.
  std::vector<Array> call(const std::vector<Array>& inputs, bool copy_outputs);

  Recording recording;

 private:
  std::vector<Array> inputs_, outputs_;
  std::atomic<bool> busy_{false};
  bool measured_ = false, small_ = false;  // whether it runs on one thread, known at the first call
};

}  // namespace weft
