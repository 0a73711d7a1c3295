// The functions that a compiler calls before each access of memory under -fsanitize=thread. With the kernels
// compiled so and linked to these, not to ThreadSanitizer, the checker sees every access. Code of the host in
// the same files comes here too, and is passed over.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulated_checker.h"
#include "emulated_sanitizer.h"
#include "emulated_threads.h"

// Not beside AddressSanitizer, of whose own functions some have these names.
#if !defined(WEFT_EMULATED_ASAN)

namespace weft::emulated {
namespace {

// What the compiler knows as aligned, by its type, a device must find aligned.
inline void check_alignment(const void* address, std::size_t bytes, const void* pc) {
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0 && in_kernel())
    checker_misaligned(address, bytes, pc);
}

inline void hook(const void* address, std::size_t bytes, bool write, const void* pc) {
  if (in_kernel()) checker_access(address, bytes, write ? Access::write : Access::read, pc);
}

}  // namespace

}  // namespace weft::emulated

using weft::emulated::check_alignment;
using weft::emulated::hook;

#define WEFT_PC __builtin_return_address(0)

extern "C" {

void __tsan_init() { weft::emulated::checker_on = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define WEFT_ACCESSES(bytes)                                                                               \
  void __tsan_read##bytes(void* p) { check_alignment(p, bytes, WEFT_PC), hook(p, bytes, false, WEFT_PC); } \
  void __tsan_write##bytes(void* p) { check_alignment(p, bytes, WEFT_PC), hook(p, bytes, true, WEFT_PC); } \
  void __tsan_unaligned_read##bytes(void* p) { hook(p, bytes, false, WEFT_PC); }                           \
  void __tsan_unaligned_write##bytes(void* p) { hook(p, bytes, true, WEFT_PC); }                           \
  void __tsan_volatile_read##bytes(void* p) {                                                              \
    check_alignment(p, bytes, WEFT_PC), hook(p, bytes, false, WEFT_PC);                                    \
  }                                                                                                        \
  void __tsan_volatile_write##bytes(void* p) {                                                             \
    check_alignment(p, bytes, WEFT_PC), hook(p, bytes, true, WEFT_PC);                                     \
  }                                                                                                        \
  void __tsan_unaligned_volatile_read##bytes(void* p) { hook(p, bytes, false, WEFT_PC); }                  \
  void __tsan_unaligned_volatile_write##bytes(void* p) { hook(p, bytes, true, WEFT_PC); }                  \
  void __tsan_read_write##bytes(void* p) { hook(p, bytes, false, WEFT_PC), hook(p, bytes, true, WEFT_PC); }
WEFT_ACCESSES(1)
WEFT_ACCESSES(2)
WEFT_ACCESSES(4)
WEFT_ACCESSES(8)
WEFT_ACCESSES(16)

void __tsan_read_range(void* p, std::size_t bytes) { hook(p, bytes, false, WEFT_PC); }
void __tsan_write_range(void* p, std::size_t bytes) { hook(p, bytes, true, WEFT_PC); }
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  hook(from, bytes, false, WEFT_PC);
  hook(to, bytes, true, WEFT_PC);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, std::size_t bytes) {
  hook(from, bytes, false, WEFT_PC);
  hook(to, bytes, true, WEFT_PC);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, std::size_t bytes) {
  hook(to, bytes, true, WEFT_PC);
  return std::memset(to, value, bytes);
}

// Atomics of the host's code (a shared_ptr's counter): the operation must be done here. In kernels only the
// functions of emulated_threads.h are atomic.
#define WEFT_ATOMIC_FETCH(bits, type, name, builtin)                       \
  type __tsan_atomic##bits##_fetch_##name(volatile void* p, type v, int) { \
    return builtin(static_cast<volatile type*>(p), v, __ATOMIC_SEQ_CST);   \
  }
#define WEFT_ATOMIC_EXCHANGE(bits, type, kind, weak)                                                       \
  bool __tsan_atomic##bits##_compare_exchange_##kind(volatile void* p, void* expected, type v, int, int) { \
    return __atomic_compare_exchange_n(static_cast<volatile type*>(p), static_cast<type*>(expected), v,    \
                                       weak, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                          \
  }
#define WEFT_ATOMICS(bits, type)                                                     \
  type __tsan_atomic##bits##_load(const volatile void* p, int) {                     \
    return __atomic_load_n(static_cast<const volatile type*>(p), __ATOMIC_SEQ_CST);  \
  }                                                                                  \
  void __tsan_atomic##bits##_store(volatile void* p, type v, int) {                  \
    __atomic_store_n(static_cast<volatile type*>(p), v, __ATOMIC_SEQ_CST);           \
  }                                                                                  \
  type __tsan_atomic##bits##_exchange(volatile void* p, type v, int) {               \
    return __atomic_exchange_n(static_cast<volatile type*>(p), v, __ATOMIC_SEQ_CST); \
  }                                                                                  \
  WEFT_ATOMIC_FETCH(bits, type, add, __atomic_fetch_add)                             \
  WEFT_ATOMIC_FETCH(bits, type, sub, __atomic_fetch_sub)                             \
  WEFT_ATOMIC_FETCH(bits, type, and, __atomic_fetch_and)                             \
  WEFT_ATOMIC_FETCH(bits, type, or, __atomic_fetch_or)                               \
  WEFT_ATOMIC_FETCH(bits, type, xor, __atomic_fetch_xor)                             \
  WEFT_ATOMIC_FETCH(bits, type, nand, __atomic_fetch_nand)                           \
  WEFT_ATOMIC_EXCHANGE(bits, type, strong, false)                                    \
  WEFT_ATOMIC_EXCHANGE(bits, type, weak, true)
WEFT_ATOMICS(8, std::uint8_t)
WEFT_ATOMICS(16, std::uint16_t)
WEFT_ATOMICS(32, std::uint32_t)
WEFT_ATOMICS(64, std::uint64_t)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}

}  // extern "C"

#endif
