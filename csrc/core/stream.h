// Every kernel runs through a Stream. A launch is an entry of the backend table, a struct of plain data,
// and the arrays whose memory that struct points into. Because the arguments are plain data, a stream can
// run a launch now, or keep it with its arrays and run it again later.
#pragma once
#include <initializer_list>

#include "core/array.h"

namespace weft {

class Stream {
 public:
  explicit Stream(Device device) : device_(device) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }

  // `arrays`: all that `args` points into.
  template <class Args>
  void submit(const char* /*name*/, void (*kernel)(Stream&, const Args&), const Args& args,
              std::initializer_list<const Array*> /*arrays*/) {
    kernel(*this, args);
  }

 private:
  Device device_;
};

// The stream on which this thread's operations on `device` run.
Stream& current_stream(Device device);

}  // namespace weft
