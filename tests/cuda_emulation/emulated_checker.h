// What the checker (emulated_checker.cpp) is told by the rest of the emulator. Where the kernels are not
// compiled for it, nothing ever asks it.
#pragma once

#include <cstddef>

#include "emulated_block.h"

namespace weft::emulated {

void checker_begin_launch(const KernelLaunch& launch);
void checker_end_launch();
void checker_begin_block();
void checker_block_barrier();
// The lanes of `mask` of the warp that begins with `thread` have met.
void checker_warp_barrier(unsigned first_thread, unsigned mask);
// Accesses by the emulator in a thread's name.
void checker_access(unsigned thread, const void* address, std::size_t bytes, bool write, Place place);

}  // namespace weft::emulated
