#include "emulated_fibers.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "emulated_sanitizer.h"

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

// weft_emulated_switch(void** save, void* to): pushes the registers that a callee must keep, stores the stack
// pointer in *save, and pops the same from the stack `to`. 13 ns a barrier and thread; swapcontext, which
// calls the kernel for the signal mask, takes 240.
#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
.globl weft_emulated_switch
.hidden weft_emulated_switch
.type weft_emulated_switch,@function
weft_emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size weft_emulated_switch,.-weft_emulated_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
.globl weft_emulated_switch
.hidden weft_emulated_switch
.type weft_emulated_switch,%function
weft_emulated_switch:
  stp x29, x30, [sp, #-160]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  ldp x29, x30, [sp], #160
  ret
.size weft_emulated_switch,.-weft_emulated_switch
)");
#endif

namespace weft::emulated {
namespace {

#if defined(WEFT_EMULATED_ASAN)
constexpr std::size_t stack_size = 256 << 10;  // its red zones take room
#else
constexpr std::size_t stack_size = 128 << 10;
#endif
constexpr std::size_t guard_size = 4096;
constexpr std::size_t max_fibers = 1025;  // a block's threads, and the one that runs on

Fiber* last_left = nullptr;  // whose stack was left by the switch under way

}  // namespace

#if defined(__x86_64__) || defined(__aarch64__)
extern "C" void weft_emulated_switch(void** save, void* to);

namespace {
void switch_stacks(Fiber* from, Fiber* to) { weft_emulated_switch(&from->stack_pointer, to->stack_pointer); }

// As if main() were about to be entered by the `ret` of a switch.
void* first_stack_pointer(char* top, void (*main)()) {
#if defined(__x86_64__)
  auto** sp = reinterpret_cast<void**>(top);
  *--sp = nullptr;  // where main would return to: at its entry the stack pointer is 8 modulo 16
  *--sp = reinterpret_cast<void*>(main);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  return sp;
#else
  auto** sp = reinterpret_cast<void**>(top - 160);
  for (int i = 0; i < 20; ++i) sp[i] = nullptr;
  sp[1] = reinterpret_cast<void*>(main);
  return sp;
#endif
}
}  // namespace
#else
namespace {
// A fiber's stack pointer is its ucontext_t here.
void switch_stacks(Fiber* from, Fiber* to) {
  if (from->stack_pointer == nullptr) from->stack_pointer = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from->stack_pointer), static_cast<ucontext_t*>(to->stack_pointer));
}
}  // namespace
#endif

void switch_fiber(Fiber* from, Fiber* to) {
  last_left = from;
  WEFT_START_SWITCH_FIBER(&from->fake_stack, to->low, to->size);
  switch_stacks(from, to);
  entered_fiber(from);
}

void entered_fiber([[maybe_unused]] Fiber* again) {
#if defined(WEFT_EMULATED_ASAN)
  // Whoever was left: its stack's bounds, which are not known of an OS thread's own stack before.
  const void* low;
  std::size_t size;
  Fiber* left = last_left;
  __sanitizer_finish_switch_fiber(again ? again->fake_stack : nullptr, &low, &size);
  left->low = const_cast<char*>(static_cast<const char*>(low));
  left->size = size;
#endif
}

Fiber* FiberPool::make() {
  if (region_ == nullptr) {
    region_size_ = max_fibers * (stack_size + guard_size);
    void* region = mmap(nullptr, region_size_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) {
      std::perror("CUDA emulator: no memory for stacks");
      std::abort();
    }
    region_ = static_cast<char*>(region);
  }
  auto* fiber = new Fiber;
  char* slot = region_ + all_.size() * (stack_size + guard_size);
  mprotect(slot, guard_size, PROT_NONE);  // an overflow faults
  fiber->low = slot + guard_size;
  fiber->size = stack_size;
  all_.push_back(fiber);
  start_at_main(fiber);
  return fiber;
}

void FiberPool::start_at_main(Fiber* fiber) {
  WEFT_UNPOISON(fiber->low, fiber->size);
  // Stacks begin in different sets of the cache: page-aligned, a block's thousand would share the same ones.
  const std::size_t colour =
      reinterpret_cast<std::uintptr_t>(fiber->low) / (stack_size + guard_size) % 61 * 64;
  char* top = fiber->low + fiber->size - colour;
#if defined(__x86_64__) || defined(__aarch64__)
  fiber->stack_pointer = first_stack_pointer(top, main_);
#else
  auto* context = fiber->stack_pointer ? static_cast<ucontext_t*>(fiber->stack_pointer) : new ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = fiber->low;
  context->uc_stack.ss_size = static_cast<std::size_t>(top - fiber->low);
  context->uc_link = nullptr;
  makecontext(context, main_, 0);
  fiber->stack_pointer = context;
#endif
}

void FiberPool::reset() {
  idle_.clear();
  for (Fiber* fiber : all_) {
    start_at_main(fiber);
    idle_.push_back(fiber);
  }
}

}  // namespace weft::emulated
