// Every kernel runs through a Stream. A launch is an entry of the backend table, a struct of plain data,
// and the arrays whose memory that struct points into. Because the arguments are plain data, a stream can
// run a launch now, and keep it with its arrays to run it again later (core/recording.h).
#pragma once
#include <initializer_list>
#include <type_traits>

#include "core/array.h"
#include "core/cuda.h"
#include "core/profile.h"
#include "core/recording.h"

namespace weft {

class Stream {
 public:
  // native: what the device's own interface calls the stream; null on the CPU. captured: nothing is executed
  // on it, so that its operations have no time.
  explicit Stream(Device device, void* native = nullptr, bool captured = false)
      : device_(device), native_(native), captured_(captured) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  void* native() const { return native_; }

  // To be called before the stream touches memory, its device's or pinned: where another stream did so last,
  // this one first waits for it. So a thread that uses several streams need not think of the order.
  void use(std::initializer_list<const Array*> arrays);
  void use(const std::vector<std::shared_ptr<Storage>>& storages);

  // `arrays`: all that `args` points into; undefined ones are passed over.
  template <class Args>
  void submit(const char* name, void (*kernel)(Stream&, const Args&), const Args& args,
              std::initializer_list<const Array*> arrays) {
    static_assert(std::is_trivially_copyable_v<Args>, "the arguments of a kernel are plain data");
    if (Recording* recording = Recording::active())
      recording->add(
          {name, &run_again<Args>, reinterpret_cast<void (*)()>(kernel), 0, nullptr, 0, current_site()},
          &args, sizeof(Args), arrays, device_);
    if (device_.kind != Device::Kind::cpu) use(arrays);
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
    const bool profiled = profiling.load(std::memory_order_relaxed) && !captured_;
    if (device_.kind != Device::Kind::cpu) {
      const cuda::OnDevice current(device_.index);
      if (profiled)
        run_profiled(name, kernel, args, site);
      else
        kernel(*this, args);
      launched(name);
    } else if (profiled) {
      run_profiled(name, kernel, args, site);
    } else {
      kernel(*this, args);
    }
  }
  template <class Args>
  void run_profiled(const char* name, void (*kernel)(Stream&, const Args&), const Args& args, int site) {
    const bool queued = device_.kind != Device::Kind::cpu;
    if (queued) wait();
    const ProfiledLaunch launch(name, reinterpret_cast<void (*)()>(kernel), &args, site);
    kernel(*this, args);
    if (queued) wait();  // the span is the device's time and that of one launch
  }
  void launched(const char* name);
  void wait();  // of a device

  Device device_;
  void* native_;
  bool captured_;
};

// The stream on which this thread's operations on `device` run.
Stream& current_stream(Device device);

}  // namespace weft
