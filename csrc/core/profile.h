// Records every launch while a profile runs: its time, its work, and where it comes from. Off, it costs the
// Stream one branch.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

namespace weft {

// One launch. Times in nanoseconds since the profile began.
struct Span {
  const char* name;  // as submitted: the operation
  int entry;         // of the backend's list of kernels; -1: none of them
  const char* isa;   // whose table the kernel is from, or "cuda"; null for none
  int thread;        // 0, 1, ... in the order of their first launch
  int site;          // what the site hook gave; -1: nothing
  std::int64_t begin, end;
  double flop, bytes;
};

// Calls the hook that says where in the program a launch comes from, for example in which line of Python.
using SiteHook = int (*)();
void set_site_hook(SiteHook hook);
int current_site();  // -1 where there is no hook

extern std::atomic<bool> profiling;

void start_profile();              // RuntimeError if one runs
std::vector<Span> stop_profile();  // RuntimeError if none runs

// Of the entries of the backend's list, in its order: the kernel's name, and where its source stands.
struct KernelSource {
  const char* name;
  const char* cpu;        // "csrc/cpu/gemm.cpp:81"
  const char* reference;  // "csrc/reference/gemm.cpp:30"
  const char* cuda;       // "csrc/cuda/gemm.cu:25"
};
const std::vector<KernelSource>& kernel_sources();

// Lives as long as a launch runs.
class ProfiledLaunch {
 public:
  // `site`: -1 asks the hook.
  ProfiledLaunch(const char* name, void (*kernel)(), const void* args, int site);
  ~ProfiledLaunch();
  ProfiledLaunch(const ProfiledLaunch&) = delete;
  ProfiledLaunch& operator=(const ProfiledLaunch&) = delete;

 private:
  Span span_;
};

}  // namespace weft
