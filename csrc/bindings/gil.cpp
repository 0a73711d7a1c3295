// Python's lock, and the interpreter's end. See GilReleased.
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "bindings/bindings.h"

namespace weft {

namespace {

std::atomic<bool> ending{false};
std::atomic<std::thread::id> who_ends;  // the thread

std::atomic<int> on_their_way{0};  // threads that ask Python for its lock, or have just got it

bool too_late() { return ending && who_ends.load(std::memory_order_relaxed) != std::this_thread::get_id(); }

[[noreturn]] void wait_for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// A thread that asks for Python's lock. It is counted before it looks at `ending`, which is set before the
// count is looked at: either the thread sees the end or the end sees the thread.
class OnItsWay {
 public:
  OnItsWay() { ++on_their_way; }
  ~OnItsWay() { --on_their_way; }
  OnItsWay(const OnItsWay&) = delete;
  OnItsWay& operator=(const OnItsWay&) = delete;
};

// While Python still takes everybody: those who are on their way back to it come in now, and wait at their
// next call.
void begin_the_end() {
  who_ends = std::this_thread::get_id();
  ending = true;
  while (on_their_way > 0) {
    PyThreadState* const state = PyEval_SaveThread();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    PyEval_RestoreThread(state);
  }
}

}  // namespace

GilReleased::~GilReleased() {
  {
    const OnItsWay counted;
    if (!too_late()) {
      PyEval_RestoreThread(state_);
      return;
    }
  }
  wait_for_ever();
}

void with_gil(const std::function<void()>& f) {
  std::optional<py::gil_scoped_acquire> acquired;
  {
    const OnItsWay counted;
    if (!Py_IsInitialized() || too_late()) return;
    acquired.emplace();
  }
  f();
}

void watch_for_the_end() {
  pthread_atfork(nullptr, nullptr, [] { on_their_way = 0; });  // the child has none of those threads
  py::module_::import("atexit").attr("register")(py::cpp_function(&begin_the_end));
}

}  // namespace weft
