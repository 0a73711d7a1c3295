// Python's lock, and the interpreter's end. See GilReleased.
#include <atomic>
#include <chrono>
#include <thread>

#include "bindings/bindings.h"

namespace weft {

namespace {

std::atomic<bool> ending{false};
std::atomic<std::thread::id> who_ends;  // the thread

bool too_late() {
  return ending.load(std::memory_order_relaxed) &&
         who_ends.load(std::memory_order_relaxed) != std::this_thread::get_id();
}

[[noreturn]] void wait_for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// Whether there are other threads that Python knows.
bool others() {
  return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) != nullptr;
}

// While Python still takes everybody: those who are on their way back to it come in now, and wait at their
// next call.
void begin_the_end() {
  who_ends = std::this_thread::get_id();
  ending = true;
  for (int turn = 0; turn < 10 && others(); ++turn) {
    PyThreadState* const state = PyEval_SaveThread();
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    PyEval_RestoreThread(state);
  }
}

}  // namespace

GilReleased::~GilReleased() {
  if (too_late()) wait_for_ever();
  PyEval_RestoreThread(state_);
}

void with_gil(const std::function<void()>& f) {
  if (!Py_IsInitialized() || too_late()) return;
  const py::gil_scoped_acquire acquired;
  f();
}

void watch_for_the_end() { py::module_::import("atexit").attr("register")(py::cpp_function(&begin_the_end)); }

}  // namespace weft
