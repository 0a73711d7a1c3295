// A block's shared memory: dynamic first, then each variable of SHARED as the block meets it, with gaps in
// between whose pattern is checked when the block ends. All is NaN (0xFF) when the block begins.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "emulated_checker.h"
#include "emulated_sanitizer.h"
#include "emulated_scheduler.h"

namespace weft::emulated {
namespace {

constexpr std::size_t static_limit = 48 << 10;
constexpr std::size_t gap = 256;
constexpr unsigned char gap_pattern = 0xA5;
constexpr std::size_t margin = 64 << 10;  // before and behind
constexpr std::size_t room = (227 << 10) + (64 << 10);

char* memory = nullptr;  // of the block, after the first gap
std::size_t used = 0;    // with all gaps
std::size_t static_used = 0;
std::unordered_map<const void*, std::size_t> static_sizes;

struct Range {
  char* begin;
  std::size_t size;
  const char* name;
};
std::vector<Range> ranges;  // of this block

void reserve() {
  void* region = mmap(nullptr, margin + room + margin, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) {
    std::perror("CUDA emulator: no shared memory");
    std::abort();
  }
  memory = static_cast<char*>(region) + margin;
  std::memset(memory - gap, gap_pattern, gap + room);
  WEFT_POISON(region, margin + room + margin);
  checker_set_shared(static_cast<char*>(region), margin + room + margin);
}

char* place_range(std::size_t size, std::size_t alignment, const char* name) {
  // On the alignment that was asked for and on no larger one, so that what counts on more fails.
  used = (used + 2 * alignment - 1) / (2 * alignment) * (2 * alignment) + alignment;
  char* begin = memory + used;
  WEFT_UNPOISON(begin, size);
  std::memset(begin, 0xFF, size);
  used += size + gap;
  ranges.push_back({begin, size, name});
  checker_allocated(begin, size);
  return begin;
}

// What the ranges cover becomes a gap again: another block may lay them out differently.
void clear_ranges() {
  for (const Range& range : ranges) {
    std::memset(range.begin, gap_pattern, range.size);
    WEFT_POISON(range.begin, range.size);
    checker_freed(range.begin, range.size);
  }
  ranges.clear();
}

}  // namespace

void prepare_shared(const KernelLaunch&) {
  if (memory == nullptr) reserve();
}

void begin_shared_block() {
  used = static_used = 0;
  clear_ranges();
  if (executor.launch->shared > 0) place_range(executor.launch->shared, 16, "dynamic shared memory");
}

void* allocate_shared(SharedVariable& variable) {
  if (!in_kernel()) std::abort();  // SHARED outside of a kernel
  if (variable.block == current_block) return variable.address;
  static_used += variable.size;
  if (static_used > static_limit)
    fault(variable.place, "%zu bytes of static shared memory, more than 48 KiB", static_used);
  if (static_used + executor.launch->shared > executor.launch->shared_limit)
    fault(variable.place, "%zu bytes of static and %zu of dynamic shared memory, more than %zu in all",
          static_used, executor.launch->shared, executor.launch->shared_limit);
  variable.address = place_range(variable.size, variable.alignment, variable.name);
  variable.block = current_block;
  std::size_t& known = static_sizes[executor.launch->kernel];
  if (static_used > known) known = static_used;
  return variable.address;
}

void* dynamic_shared(std::size_t alignment, Place place) {
  if (alignment > 16)
    fault(place, "dynamic shared memory is aligned to 16 bytes, its type wants %zu", alignment);
  if (executor.launch->shared == 0)
    fault(place, "DYNAMIC_SHARED, but the launch gives no dynamic shared memory");
  return ranges.front().begin;
}

bool in_shared(const void* address, std::size_t bytes) {
  const auto* p = static_cast<const char*>(address);
  for (const Range& range : ranges)
    if (p >= range.begin && p + bytes <= range.begin + range.size) return true;
  return false;
}

void check_shared_block() {
  char* from = memory - gap;
  for (std::size_t i = 0; i <= ranges.size(); ++i) {
    char* to = i < ranges.size() ? ranges[i].begin : from + gap;
    WEFT_UNPOISON(from, static_cast<std::size_t>(to - from));
    for (char* p = from; p < to; ++p)
      if (static_cast<unsigned char>(*p) != gap_pattern) {
        const char* name = i > 0 ? ranges[i - 1].name : ranges[0].name;
        if (!executor.faulted)
          report_fault(describe_launch() + ": wrote outside of shared memory, near " + name);
        executor.faulted = true;
        *p = static_cast<char>(gap_pattern);
      }
    WEFT_POISON(from, static_cast<std::size_t>(to - from));
    if (i < ranges.size()) from = ranges[i].begin + ranges[i].size;
  }
}

std::string describe_shared(const void* address) {
  const auto* p = static_cast<const char*>(address);
  const Range* nearest = nullptr;
  for (const Range& range : ranges)
    if (p >= range.begin || nearest == nullptr) nearest = &range;
  if (nearest == nullptr) return "of shared memory";
  return "at byte " + std::to_string(p - nearest->begin) + " of " + nearest->name + " (shared), which has " +
         std::to_string(nearest->size);
}

std::size_t static_shared_size(const void* kernel) {
  const auto found = static_sizes.find(kernel);
  return found == static_sizes.end() ? 0 : found->second;
}

}  // namespace weft::emulated
