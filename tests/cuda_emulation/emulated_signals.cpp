// The handler runs on a stack of its own and makes the kernel's thread go on in signal_fault() at the top of
// its fiber's stack, whose content nobody needs any more.
#include "emulated_signals.h"

#include <signal.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "emulated_block.h"
#include "emulated_sanitizer.h"
#include "emulated_scheduler.h"
#include "emulated_symbols.h"

#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(WEFT_EMULATED_ASAN)

namespace weft::emulated {
namespace {

constexpr int signals[] = {SIGSEGV, SIGBUS, SIGFPE};
struct sigaction before[3];
stack_t stack_before;

int caught = 0;
const void *fault_address = nullptr, *fault_pc = nullptr;

[[noreturn]] void signal_fault() {
  char text[128];
  if (caught == SIGFPE)
    std::snprintf(text, sizeof text, "division of an integer by zero");
  else
    std::snprintf(text, sizeof text, "accesses memory that isn't there, at %p", fault_address);
  fault_at(source_line(static_cast<const char*>(fault_pc) + 1), text);
  std::abort();
}

void handle(int signal, siginfo_t* info, void* context) {
  if (!in_kernel()) {  // not ours: again, with what was there before
    for (int i = 0; i < 3; ++i) sigaction(signals[i], &before[i], nullptr);
    return;
  }
  caught = signal;
  fault_address = info->si_addr;
  const Fiber& fiber = *executor.running().fiber;
  const auto top = reinterpret_cast<std::uintptr_t>(fiber.low + fiber.size) / 16 * 16 - 64;
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  fault_pc = reinterpret_cast<const void*>(machine.gregs[REG_RIP]);
  machine.gregs[REG_RSP] = static_cast<greg_t>(top - 8);  // as after a call
  machine.gregs[REG_RIP] = reinterpret_cast<greg_t>(&signal_fault);
#else
  fault_pc = reinterpret_cast<const void*>(machine.pc);
  machine.sp = top;
  machine.pc = reinterpret_cast<std::uintptr_t>(&signal_fault);
#endif
}

}  // namespace

CatchSignals::CatchSignals() {
  static char* const own_stack = static_cast<char*>(std::malloc(64 << 10));
  stack_t stack{};
  stack.ss_sp = own_stack;
  stack.ss_size = 64 << 10;
  sigaltstack(&stack, &stack_before);
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (int i = 0; i < 3; ++i) sigaction(signals[i], &action, &before[i]);
}

CatchSignals::~CatchSignals() {
  for (int i = 0; i < 3; ++i) sigaction(signals[i], &before[i], nullptr);
  sigaltstack(&stack_before, nullptr);
}

}  // namespace weft::emulated

#else

namespace weft::emulated {
CatchSignals::CatchSignals() {}
CatchSignals::~CatchSignals() {}
}  // namespace weft::emulated

#endif
