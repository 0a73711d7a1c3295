// A recorded sequence of launches as a function: inputs are copied into the memory that was recorded as
// theirs, the launches run, and the outputs are handed out, as they are or as copies. No Python in between.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "core/array.h"
#include "core/recording.h"

namespace weft {

// Whose turn it is to work with something: one thread's at a time, the others wait. Unlike a mutex it may be
// kept while Python runs, and a forked child can tell that its holder stayed behind.
class Turn {
 public:
  void take();  // RuntimeError in a forked child, where another thread of the parent had it
  void give() noexcept;
  bool mine() const;         // this thread has it
  bool another_has() const;  // another thread has it

 private:
  std::atomic<std::uint64_t> holder_{0};  // a thread and its process; 0: nobody
};

class Replay {
 public:
  Replay(Device device, bool strict) : recording_(device, strict) {}

  // From begin to end the replay is the calling thread's alone; another one's begin waits. RuntimeError
  // inside of another capture, and for an end in another thread than the begin.
  void begin(Recording::Mode mode);
  void end();

  // The arrays that stand for arguments and results. Call both before the first replay.
  void set_inputs(std::vector<Array> inputs) { inputs_ = std::move(inputs); }
  void set_outputs(std::vector<Array> outputs) { outputs_ = std::move(outputs); }
  const std::vector<Array>& inputs() const { return inputs_; }
  const std::vector<Array>& outputs() const { return outputs_; }
  const Recording& recording() const { return recording_; }

  // ValueError or TypeError for inputs of other shapes or dtypes than recorded. Waits while another thread
  // uses it.
  std::vector<Array> call(const std::vector<Array>& inputs, bool copy_outputs);

  Turn turn;  // to be taken by who looks at what the functions above change, outside of them

 private:
  std::vector<Array> replayed(const std::vector<Array>& inputs, bool copy_outputs);

  Recording recording_;
  std::vector<Array> inputs_, outputs_;
  bool measured_ = false, small_ = false;  // whether it runs on one thread, known at the first call
};

// Takes a turn for as long as it lives, unless the thread has it already.
class WithTurn {
 public:
  explicit WithTurn(Turn& turn) : turn_(turn.mine() ? nullptr : &turn) {
    if (turn_) turn_->take();
  }
  ~WithTurn() {
    if (turn_) turn_->give();
  }
  WithTurn(const WithTurn&) = delete;
  WithTurn& operator=(const WithTurn&) = delete;

 private:
  Turn* turn_;
};

}  // namespace weft
