// Every kernel runs through a Stream. A launch is an entry of the backend table, a struct of plain data,
// and the arrays whose memory that struct points into. Because the arguments are plain data, a stream can
// run a launch now, and keep it with its arrays to run it again later (core/recording.h).
#pragma once
#include <initializer_list>
#include <type_traits>

#include "core/array.h"
#include "core/profile.h"
#include "core/recording.h"

namespace weft {

class Stream {
 public:
  explicit Stream(Device device) : device_(device) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }

  // `arrays`: all that `args` points into; undefined ones are passed over.
  template <class Args>
  void submit(const char* name, void (*kernel)(Stream&, const Args&), const Args& args,
              std::initializer_list<const Array*> arrays) {
    static_assert(std::is_trivially_copyable_v<Args>, "the arguments of a kernel are plain data");
    if (Recording* recording = Recording::active())
      recording->add(
          {name, &run_again<Args>, reinterpret_cast<void (*)()>(kernel), 0, nullptr, 0, current_site()},
          &args, sizeof(Args), arrays);
    run(name, kernel, args, -1);
  }

 private:
  template <class Args>
  static void run_again(Stream& stream, const Launch& launch) {
    stream.run(launch.name, reinterpret_cast<void (*)(Stream&, const Args&)>(launch.kernel),
               *static_cast<const Args*>(launch.data), launch.site);
  }

  template <class Args>
  void run(const char* name, void (*kernel)(Stream&, const Args&), const Args& args, int site) {
    if (!profiling.load(std::memory_order_relaxed)) return kernel(*this, args);
    const ProfiledLaunch launch(name, reinterpret_cast<void (*)()>(kernel), &args, site);
    kernel(*this, args);
  }

  Device device_;
};

// The stream on which this thread's operations on `device` run.
Stream& current_stream(Device device);

}  // namespace weft
