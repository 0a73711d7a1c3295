// The checker: bounds, reads of what nobody wrote, and races, of global and shared memory. It sees each
// access where the kernels are compiled for it (emulated_hooks.cpp); elsewhere these calls do nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "emulated_block.h"

namespace weft::emulated {

extern bool checker_on, atomic_under_way;  // set before main by the first object that is compiled for it

// Memory comes and goes, and is written by the host's copies.
void checker_add_device(const char* base, std::size_t reserved);
void checker_set_shared(const char* base, std::size_t reserved);
void checker_allocated(const void* address, std::size_t bytes);
void checker_freed(const void* address, std::size_t bytes);
void checker_copied(const void* to, const void* from, std::size_t bytes);  // from: null: a memset

void checker_begin_launch(const KernelLaunch& launch);
void checker_end_launch();
void checker_begin_block();
void checker_block_barrier();
// The lanes of `mask` of the warp that begins with `thread` have met in a __syncwarp.
void checker_warp_barrier(unsigned first_thread, unsigned mask);

enum class Access { read, write, atomic, pending_write };
// What the running thread does at `pc`; or, done by the emulator, `thread` at `place`. A pending write
// (cp.async) leaves bytes that may not be read.
void checker_access(const void* address, std::size_t bytes, Access access, const void* pc);
void checker_misaligned(const void* address, std::size_t bytes, const void* pc);
void checker_access(unsigned thread, const void* address, std::size_t bytes, Access access, Place place);

}  // namespace weft::emulated
