// A wild pointer in a kernel is a fault of the launch, as on a device, and not the end of the process.
#pragma once

namespace weft::emulated {

// For as long as it lives, SIGSEGV, SIGBUS and SIGFPE of this OS thread's kernels become faults.
class CatchSignals {
 public:
  CatchSignals();
  ~CatchSignals();
  CatchSignals(const CatchSignals&) = delete;
  CatchSignals& operator=(const CatchSignals&) = delete;
};

}  // namespace weft::emulated
