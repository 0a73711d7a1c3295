#include "core/profile.h"

#include <chrono>
#include <iterator>
#include <mutex>
#include <thread>

#include "backend.h"
#include "core/cuda.h"
#include "core/error.h"
#include "core/fork_mutex.h"
#include "cpu/isa.h"
#include "kernel_lines.inc"  // made by scripts/generate/kernel_lines.py: cpu_line(name), reference_line(name), cuda_line(name)
#include "ops/cost.h"
#include "ops/launch_cost.h"

namespace weft {

std::atomic<bool> profiling{false};

namespace {

ForkMutex mutex{ForkMutex::Level::profile};  // guards all below
std::vector<Span> spans;
std::vector<std::thread::id> threads;
std::int64_t start = 0;
std::atomic<SiteHook> site_hook{nullptr};

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

template <class Args>
Cost cost(const void* args) {
  return cost_of(*static_cast<const Args*>(args));
}

// Entry by entry as in WEFT_KERNELS.
#define WEFT_COST(kernel, Args) &cost<Args>,
constexpr Cost (*costs[])(const void*) = {WEFT_KERNELS(WEFT_COST)};
#define WEFT_NAME(kernel, Args) #kernel,
constexpr const char* names[] = {WEFT_KERNELS(WEFT_NAME)};

// Looks for a kernel's entry in a table.
bool identify_in(const Backend& table, const char* isa, void (*kernel)(), Span& span) {
  int entry = 0;
#define WEFT_SAME(name, Args)                               \
  if (reinterpret_cast<void (*)()>(table.name) == kernel) { \
    span.entry = entry;                                     \
    span.isa = isa;                                         \
    return true;                                            \
  }                                                         \
  ++entry;
  WEFT_KERNELS(WEFT_SAME)
#undef WEFT_SAME
  return false;
}

// In the tables of all instruction sets, and in that of CUDA.
void identify(void (*kernel)(), Span& span) {
  for (const auto& [isa, table] : cpu::tables())
    if (identify_in(*table, isa, kernel, span)) return;
  if (cuda::device_count() > 0) identify_in(cuda::backend(0), "cuda", kernel, span);
}

int thread_number() {
  const std::thread::id id = std::this_thread::get_id();
  for (std::size_t i = 0; i < threads.size(); ++i)
    if (threads[i] == id) return static_cast<int>(i);
  threads.push_back(id);
  return static_cast<int>(threads.size()) - 1;
}

}  // namespace

void set_site_hook(SiteHook hook) { site_hook = hook; }

int current_site() {
  const SiteHook hook = site_hook;
  return hook ? hook() : -1;
}

void start_profile() {
  const std::lock_guard lock(mutex);
  check_state(!profiling, "profile: one is running already");
  spans.clear();
  threads.clear();
  start = now();
  profiling = true;
}

std::vector<Span> stop_profile() {
  const std::lock_guard lock(mutex);
  check_state(profiling, "profile: none is running");
  profiling = false;
  return std::move(spans);
}

const std::vector<KernelSource>& kernel_sources() {
  static const std::vector<KernelSource> sources = [] {
    std::vector<KernelSource> found;
    for (const char* name : names)
      found.push_back({name, cpu_line(name), reference_line(name), cuda_line(name)});
    return found;
  }();
  return sources;
}

ProfiledLaunch::ProfiledLaunch(const char* name, void (*kernel)(), const void* args, int site)
    : span_{name, -1, nullptr, 0, site < 0 ? current_site() : site, 0, 0, 0, 0} {
  identify(kernel, span_);
  if (span_.entry >= 0) {
    const Cost c = costs[span_.entry](args);
    span_.flop = c.flop;
    span_.bytes = c.bytes;
  }
  span_.begin = now();
}

ProfiledLaunch::~ProfiledLaunch() {
  span_.end = now();
  const std::lock_guard lock(mutex);
  if (!profiling) return;  // it ended while this launch ran
  span_.thread = thread_number();
  span_.begin -= start;
  span_.end -= start;
  spans.push_back(span_);
}

LaunchCost launch_cost(const Launch& launch) {
  Span span{};
  span.entry = -1;
  identify(launch.kernel, span);
  if (span.entry < 0) return {};
  const Cost c = costs[span.entry](launch.data);
  return {c.flop, c.bytes};
}

}  // namespace weft
