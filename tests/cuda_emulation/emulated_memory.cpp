// Device memory and pinned host memory.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulated_checker.h"
#include "emulated_sanitizer.h"
#include "emulated_state.h"

namespace weft::emulated {
namespace {

constexpr unsigned char red_pattern = 0xA5;
constexpr std::size_t max_freed_bytes = 16 << 20, max_freed_blocks = 64, page = 4096, max_freed_pinned = 256;

std::size_t round_up(std::size_t bytes) {
  return (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
}

}  // namespace

Arena::Arena(std::size_t capacity) : capacity_(capacity) {
  reserved_ = 2 * round_up(capacity) + (std::size_t{256} << 20);
  void* region =
      mmap(nullptr, reserved_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) {
    std::perror("CUDA emulator: no memory for a device");
    std::abort();
  }
  base_ = static_cast<char*>(region);
  WEFT_POISON(base_, reserved_);
  checker_add_device(base_, reserved_);
}

void* Arena::allocate(std::size_t bytes) {
  const std::size_t padded = round_up(bytes);
  if (used_ + padded > capacity_) return nullptr;
  // First fit: a red zone, the block, a red zone (each shared with the neighbour).
  for (;;) {
    std::size_t offset = red_zone;
    for (const auto& [begin, block] : blocks_) {
      if (offset + padded + red_zone <= begin) break;
      offset = begin + block.padded + red_zone;
    }
    if (offset + padded + red_zone <= reserved_) {
      WEFT_UNPOISON(base_ + offset - red_zone, padded + 2 * red_zone);
      std::memset(base_ + offset - red_zone, red_pattern, red_zone);
      std::memset(base_ + offset, 0xFF, bytes);
      std::memset(base_ + offset + bytes, red_pattern, padded - bytes + red_zone);
      WEFT_POISON(base_ + offset - red_zone, red_zone);
      WEFT_POISON(base_ + offset + bytes, padded - bytes + red_zone);
      blocks_[offset] = {bytes, padded, false};
      used_ += padded;
      checker_allocated(base_ + offset, bytes);
      return base_ + offset;
    }
    if (freed_.empty()) return nullptr;
    forget_oldest_freed();
  }
}

bool Arena::release(void* pointer) {
  if (!has(pointer)) return false;
  const auto found = blocks_.find(static_cast<std::size_t>(static_cast<char*>(pointer) - base_));
  if (found == blocks_.end() || found->second.freed) return false;
  Block& block = found->second;
  if (!check_red_zones(found->first, block)) set_fault();
  used_ -= block.padded;
  block.freed = true;
  std::memset(pointer, 0xFF, block.size);
  WEFT_POISON(pointer, block.size);
  checker_freed(pointer, block.size);
  freed_.push_back(found->first);
  freed_bytes_ += block.padded;
  while (freed_.size() > max_freed_blocks || freed_bytes_ > max_freed_bytes) forget_oldest_freed();
  return true;
}

void Arena::forget_oldest_freed() {
  const auto found = blocks_.find(freed_.front());
  freed_bytes_ -= found->second.padded;
  blocks_.erase(found);
  freed_.pop_front();
}

const char* Arena::nearest(const void* address, std::size_t* bytes) const {
  if (!has(address)) return nullptr;
  auto next = blocks_.upper_bound(static_cast<std::size_t>(static_cast<const char*>(address) - base_));
  if (next == blocks_.begin()) return nullptr;
  --next;
  *bytes = next->second.freed ? 0 : next->second.size;
  return base_ + next->first;
}

bool Arena::holds(const void* address, std::size_t bytes) const {
  std::size_t size = 0;
  const char* begin = nearest(address, &size);
  return begin != nullptr && static_cast<const char*>(address) + bytes <= begin + size;
}

bool Arena::check_red_zones(std::size_t offset, const Block& block) {
  const auto damaged = [&](char* from, std::size_t size) {
    WEFT_UNPOISON(from, size);
    static const std::string intact(red_zone + alignment, static_cast<char>(red_pattern));
    const bool bad = std::memcmp(from, intact.data(), size) != 0;
    if (bad) std::memset(from, red_pattern, size);
    WEFT_POISON(from, size);
    return bad;
  };
  const bool before = damaged(base_ + offset - red_zone, red_zone);
  const bool behind = damaged(base_ + offset + block.size, block.padded - block.size + red_zone);
  if (!before && !behind) return true;
  char text[160];
  std::snprintf(text, sizeof text, "a kernel wrote %s a block of device memory of %zu bytes at %p",
                before ? "before" : "behind", block.size, static_cast<void*>(base_ + offset));
  report_fault(text);
  return false;
}

bool Arena::check_red_zones() {
  bool good = true;
  for (const auto& [offset, block] : blocks_)
    if (!block.freed && !check_red_zones(offset, block)) good = false;
  return good;
}

int device_of(const void* address) {
  const auto& devices = machine().devices;
  for (std::size_t d = 0; d < devices.size(); ++d)
    if (devices[d]->memory.has(address)) return static_cast<int>(d);
  return -1;
}

std::string describe_device_memory(const void* address) {
  const int owner = device_of(address);
  std::size_t size = 0;
  const char* begin =
      owner < 0 ? nullptr
                : machine().devices[static_cast<std::size_t>(owner)]->memory.nearest(address, &size);
  if (begin == nullptr) return "of device memory";
  const std::string at = "at byte " + std::to_string(static_cast<const char*>(address) - begin) + " of ";
  return at + (size == 0 ? "freed device memory" : "a block of device memory of " + std::to_string(size));
}

bool is_pinned(const void* address, std::size_t bytes) {
  const auto* p = static_cast<const char*>(address);
  auto next = machine().pinned.upper_bound(p);
  if (next == machine().pinned.begin()) return false;
  --next;
  return p + bytes <= next->first + next->second;
}

}  // namespace weft::emulated

using namespace weft::emulated;

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  Call call;
  if (call.blocked()) return call.blocked();
  *total = device().memory.capacity();
  *free = *total - device().memory.used();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (pointer == nullptr) return call.done(cudaErrorInvalidValue);
  if (const cudaError_t error = forbid_in_capture()) return call.done(error);
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  *pointer = device().memory.allocate(bytes);
  return *pointer != nullptr ? cudaSuccess : call.done(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void* pointer) {
  Call call;
  if (call.unusable()) return call.blocked();
  if (pointer == nullptr) return call.blocked();
  if (const cudaError_t error = forbid_in_capture()) return call.done(error);
  const int owner = device_of(pointer);
  if (owner < 0) return call.done(cudaErrorInvalidValue);
  // It waits for the device. Whether CUDA lets it, in a relaxed capture, isn't said anywhere.
  if (const cudaError_t error = forbid_while_captured(owner)) return call.done(error);
  synchronize(*machine().devices[static_cast<std::size_t>(owner)]);
  if (!machine().devices[static_cast<std::size_t>(owner)]->memory.release(pointer))
    return call.done(cudaErrorInvalidValue);
  return call.done(machine().sticky);
}

cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned flags) {
  Call call;
  if (call.blocked()) return call.blocked();
  if (pointer == nullptr || flags > 7) return call.done(cudaErrorInvalidValue);
  if (const cudaError_t error = forbid_in_capture()) return call.done(error);
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  // Page-locked: whole pages.
  void* const pages = mmap(nullptr, (bytes + page - 1) / page * page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return call.done(cudaErrorMemoryAllocation);
  *pointer = std::memset(pages, 0xFF, bytes);
  machine().pinned[static_cast<const char*>(*pointer)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  return cudaHostAlloc(pointer, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void* pointer) {
  Call call;
  if (call.unusable()) return call.blocked();
  if (pointer == nullptr) return call.blocked();
  if (const cudaError_t error = forbid_in_capture()) return call.done(error);
  const auto found = machine().pinned.find(static_cast<const char*>(pointer));
  if (found == machine().pinned.end()) return call.done(cudaErrorInvalidValue);
  for (std::size_t d = 0; d < machine().devices.size(); ++d)
    if (const cudaError_t error = forbid_while_captured(static_cast<int>(d))) return call.done(error);
  // Nothing is waited for, which CUDA doesn't promise: what still reads or writes there is a fault.
  const std::size_t size = (found->second + page - 1) / page * page;
  machine().pinned.erase(found);
  mprotect(pointer, size, PROT_NONE);
  auto& freed = machine().freed_pinned;
  freed.emplace_back(static_cast<char*>(pointer), size);
  if (freed.size() > max_freed_pinned) {
    munmap(freed.front().first, freed.front().second);
    freed.pop_front();
  }
  return call.done(machine().sticky);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  Call call;
  if (call.blocked()) return call.blocked();
  void* p = const_cast<void*>(pointer);
  const int owner = device_of(pointer);
  if (owner >= 0)
    *attributes = {cudaMemoryTypeDevice, owner, p, nullptr};
  else if (is_pinned(pointer, 1))
    *attributes = {cudaMemoryTypeHost, current_device(), p, p};
  else
    *attributes = {cudaMemoryTypeUnregistered, -1, nullptr, p};
  return cudaSuccess;
}
