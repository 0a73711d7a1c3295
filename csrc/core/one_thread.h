// Kernels that shall not be shared out.
#pragma once

namespace weft {

// While it lives, num_threads() is 1 for the thread that made it, if `wanted`.
class OneThread {
 public:
  explicit OneThread(bool wanted);
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  bool before_;
};

}  // namespace weft
