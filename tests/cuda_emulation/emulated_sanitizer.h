// AddressSanitizer's interface where it is on, and nothing elsewhere.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define WEFT_EMULATED_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_EMULATED_ASAN
#endif
#endif

#if defined(WEFT_EMULATED_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define WEFT_POISON(address, size) __asan_poison_memory_region(address, size)
#define WEFT_UNPOISON(address, size) __asan_unpoison_memory_region(address, size)
#define WEFT_START_SWITCH_FIBER(save, low, size) __sanitizer_start_switch_fiber(save, low, size)
#else
#define WEFT_POISON(address, size) static_cast<void>(0)
#define WEFT_UNPOISON(address, size) static_cast<void>(0)
#define WEFT_START_SWITCH_FIBER(save, low, size) static_cast<void>(0)
#endif
