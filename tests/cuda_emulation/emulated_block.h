// A launch and the block that runs: what the emulator's own files share, and what emulated_threads.h calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "emulated_types.h"

namespace weft::emulated {

struct Place {
  const char* file;
  int line;
};

struct KernelLaunch {
  const void* kernel;
  void (*invoke)(const void* kernel, const void* arguments);
  std::shared_ptr<const void> arguments;
  std::size_t arguments_size;
  dim3 grid, block;
  std::size_t shared;  // dynamic
  Place place;
  std::size_t shared_limit = 0;  // for static and dynamic shared memory together
};

// Runs all blocks, one after the other. False where one had a fault, which the rest of the launch is
// abandoned for; emulated_fault() tells it.
bool run_launch(const KernelLaunch& launch);
// Whether this OS thread is inside a kernel.
bool in_kernel();
// Static shared memory that `kernel` used when it ran; 0 before.
std::size_t static_shared_size(const void* kernel);

// Ends the launch under way (does not return in a kernel). The text is put behind kernel, block and thread.
[[gnu::format(printf, 2, 3)]] void fault(Place place, const char* format, ...);
void fault_at(const std::string& where, const std::string& what);
// "kernel f(float*) (launched at f.cu:10), block (0, 0, 0)".
std::string describe_launch();
// The same where no kernel runs: a damaged red zone, for one.
void report_fault(const std::string& text);

// Host memory that a kernel may touch: its stack, constants, pinned memory.
bool is_host_memory_of_kernels(const void* address);
// "at byte 1024 of ...": for messages.
std::string describe_shared(const void* address);
std::string describe_device_memory(const void* address);

}  // namespace weft::emulated
