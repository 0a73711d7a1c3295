// A checker whose verdict doesn't depend on the order in which the emulator runs the threads.
//
// Each 4-byte word of device and shared memory has a state (which of its bytes exist, which were written) and
// a cell (who wrote it last, and two who read it since). "Who" is a segment: what one thread does between two
// synchronizations. Two accesses of one byte, one of them a write, race unless one segment comes before the
// other:
//   - the same thread, in order;
//   - a barrier of the block in between (the segments' epochs differ);
//   - a __syncwarp with both lanes in between (each thread knows how far it has seen the others of its warp:
//     a vector clock);
//   - of two blocks: an atomic of the one after a __threadfence, and later an atomic on the same word by the
//     other one (the pattern "the last block to finish adds the partial sums");
//   - of two launches: always.
// Two readers suffice, if they are taken from different blocks or at least warps where there are such: a
// write that is ordered after both of them is ordered after nearly all.
#include "emulated_checker.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "emulated_scheduler.h"
#include "emulated_symbols.h"

namespace weft::emulated {

bool checker_on = false, atomic_under_way = false;

namespace {

using Id = std::uint32_t;  // of a segment; 0: none. Ids of earlier launches are smaller than first_id.

struct Segment {
  std::uint32_t block, epoch, clock;
  std::uint16_t thread;
};

struct Cell {
  Id writer, reader[2];
  std::uint32_t writer_place, reader_place[2];
  std::uint8_t writer_bytes, reader_bytes[2];  // which bytes of the word
  bool atomic;                                 // the writer was one
};

// State of a word: low four bits: its bytes exist; high four bits: they were written.
struct Shadow {
  const char* base;
  std::size_t size;
  std::uint8_t* states;
  Cell* cells;
  bool shared;
};
std::vector<Shadow> shadows;  // the first one is that of shared memory

std::vector<Segment> segments;
Id first_id = 1, next_id = 1;
std::uint32_t block_number = 0, epoch = 0;
Id thread_segment[1024];  // 0: begins with the next access
std::uint32_t clocks[1024], seen[1024][32];
bool clocks_used = false;

// Releases by blocks of this launch, by the atomic's address; and what the running block has acquired.
struct Release {
  std::uint32_t epoch;
  std::uint16_t thread;
  Id end;  // segments from here on come after it
};
std::unordered_map<const void*, std::unordered_map<std::uint32_t, Release>> releases;
struct Acquire {
  std::uint32_t epoch;
  std::uint16_t thread;
};
std::unordered_map<const void*, Acquire> acquires;
bool fenced = false;

template <class T>
T* map_zeros(std::size_t count) {
  void* p = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    std::perror("CUDA emulator: no memory for the checker");
    std::abort();
  }
  return static_cast<T*>(p);
}

void add_shadow(const char* base, std::size_t size, bool shared) {
  if (!checker_on) return;
  if (shadows.empty()) shadows.resize(1);
  Shadow shadow{base, size, map_zeros<std::uint8_t>(size / 4 + 8), map_zeros<Cell>(size / 4 + 8), shared};
  if (shared)
    shadows.front() = shadow;
  else
    shadows.push_back(shadow);
}

Shadow* shadow_of(const void* address) {
  const auto* p = static_cast<const char*>(address);
  for (Shadow& s : shadows)
    if (static_cast<std::size_t>(p - s.base) < s.size) return &s;
  return nullptr;
}

// Calls f(word, bytes of it) for all words of a range.
template <class F>
void each_word(const Shadow& shadow, const void* address, std::size_t bytes, F f) {
  std::size_t at = static_cast<std::size_t>(static_cast<const char*>(address) - shadow.base);
  const std::size_t end = at + bytes;
  while (at < end) {
    const std::size_t in_word = at % 4, count = std::min<std::size_t>(4 - in_word, end - at);
    if (!f(at / 4, static_cast<std::uint8_t>(((1u << count) - 1) << in_word))) return;
    at += count;
  }
}

// --- Order ---

Id segment_of(unsigned thread) {
  Id& id = thread_segment[thread];
  if (id == 0) {
    id = next_id++;
    segments.push_back({block_number, epoch, clocks[thread], static_cast<std::uint16_t>(thread)});
  }
  return id;
}

bool released_to(const Segment& before, Id before_id, unsigned thread) {
  for (const auto& [address, acquire] : acquires) {
    if (acquire.thread != thread && acquire.epoch >= epoch) continue;
    const auto& of_address = releases[address];
    const auto found = of_address.find(before.block);
    if (found == of_address.end()) continue;
    const Release& release = found->second;
    if (before.epoch < release.epoch || (before.thread == release.thread && before_id < release.end))
      return true;
  }
  return false;
}

// Whether what the segment `id` did is before what `thread` does now.
bool ordered(Id id, unsigned thread, bool shared) {
  if (id < first_id || id == thread_segment[thread]) return true;
  const Segment& s = segments[id - first_id];
  if (s.block != block_number) return shared || released_to(s, id, thread);
  if (s.thread == thread || s.epoch < epoch) return true;
  return s.thread / 32 == thread / 32 && seen[thread][s.thread % 32] > s.clock;
}

// --- Faults ---

std::uint32_t compress(const void* pc) {
  return static_cast<std::uint32_t>(static_cast<const char*>(pc) - image_base());
}

const char* name_of(Access access) {
  switch (access) {
    case Access::read: return "reads";
    case Access::write: return "writes";
    case Access::atomic: return "changes atomically";
    case Access::pending_write: return "writes by cp_async";
  }
  return "";
}

// "4 bytes at byte 1024 of shared tile, which has 1024".
std::string describe_memory(const Shadow& shadow, const void* address, std::size_t bytes) {
  return std::to_string(bytes) + " bytes " +
         (shadow.shared ? describe_shared(address) : describe_device_memory(address));
}

// Places of the emulator's own accesses are kept in a table, marked by the highest bit.
std::vector<Place> own_places;
std::uint32_t compress(Place place) {
  for (std::size_t i = 0; i < own_places.size(); ++i)
    if (own_places[i].line == place.line && own_places[i].file == place.file)
      return 0x80000000u | static_cast<std::uint32_t>(i);
  own_places.push_back(place);
  return 0x80000000u | static_cast<std::uint32_t>(own_places.size() - 1);
}
std::string place_text(std::uint32_t place) {
  if ((place & 0x80000000u) == 0) return source_line(image_base() + place);
  const Place& own = own_places[place & 0x7fffffffu];
  return std::string(own.file) + ":" + std::to_string(own.line);
}

struct Attempt {
  Shadow& shadow;
  const void* address;
  std::size_t bytes;
  Access access;
  unsigned thread;
  std::uint32_t place;
};

void report(const Attempt& a, const std::string& what) {
  std::string text =
      std::string(name_of(a.access)) + " " + describe_memory(a.shadow, a.address, a.bytes) + ": " + what;
  if (a.thread != executor.current) text = "for thread " + std::to_string(a.thread) + ": " + text;
  fault_at(place_text(a.place), text);
}

void report_race(const Attempt& a, Id other, const char* did, std::uint32_t place) {
  const Segment& s = segments[other - first_id];
  std::string who = "thread " + std::to_string(s.thread);
  who += s.block == block_number ? " of the block"
                                 : " of block " + std::to_string(s.block) + " (by order of running)";
  report(a, "race: " + who + " " + did + " it at " + place_text(place) +
                (s.block == block_number ? ", with no barrier in between"
                                         : ", and nothing orders the two blocks"));
}

// --- Accesses ---

void note_reader(Cell& cell, Id id, unsigned thread, std::uint8_t bytes, std::uint32_t place, bool shared) {
  int slot = -1;
  for (int i = 0; i < 2 && slot < 0; ++i)
    if (ordered(cell.reader[i], thread, shared)) slot = i;
  if (slot < 0) {
    // Two others, neither ordered before: take the second's place if that makes the two more different.
    const Segment &a = segments[cell.reader[0] - first_id], &b = segments[cell.reader[1] - first_id];
    if (a.block == b.block &&
        (block_number != a.block || (a.thread / 32 == b.thread / 32 && thread / 32 != a.thread / 32)))
      slot = 1;
  }
  if (slot < 0) return;
  cell.reader_bytes[slot] = cell.reader[slot] == id ? cell.reader_bytes[slot] | bytes : bytes;
  cell.reader[slot] = id;
  cell.reader_place[slot] = place;
}

// False where it was a fault.
bool check_word(const Attempt& a, std::size_t word, std::uint8_t bytes, Id id) {
  std::uint8_t& state = a.shadow.states[word];
  if ((bytes & ~state) != 0) return report(a, "out of bounds"), false;
  const std::uint8_t written = static_cast<std::uint8_t>(bytes << 4);
  const bool reads = a.access == Access::read || a.access == Access::atomic;
  if (reads && (written & ~state) != 0) return report(a, "nobody has written it, or not yet"), false;
  Cell& cell = a.shadow.cells[word];
  const bool shared = a.shadow.shared;
  if ((cell.writer_bytes & bytes) != 0 && !(cell.atomic && a.access == Access::atomic) &&
      !ordered(cell.writer, a.thread, shared))
    return report_race(a, cell.writer, "wrote", cell.writer_place), false;
  if (a.access == Access::read) return note_reader(cell, id, a.thread, bytes, a.place, shared), true;
  for (int i = 0; i < 2; ++i)
    if ((cell.reader_bytes[i] & bytes) != 0 && !ordered(cell.reader[i], a.thread, shared))
      return report_race(a, cell.reader[i], "read", cell.reader_place[i]), false;
  cell.writer_bytes = cell.writer == id ? cell.writer_bytes | bytes : bytes;
  cell.writer = id;
  cell.writer_place = a.place;
  cell.atomic = a.access == Access::atomic;
  state = a.access == Access::pending_write ? state & ~written : state | written;
  return true;
}

void access(const Attempt& a) {
  const Id id = segment_of(a.thread);
  each_word(a.shadow, a.address, a.bytes,
            [&](std::size_t word, std::uint8_t bytes) { return check_word(a, word, bytes, id); });
}

// An atomic takes what other blocks have released at its word, and releases what came before a fence.
void synchronize_blocks(const void* address, unsigned thread) {
  acquires.try_emplace(address, Acquire{epoch, static_cast<std::uint16_t>(thread)});
  if (!fenced) return;
  releases[address][block_number] = {epoch, static_cast<std::uint16_t>(thread), next_id};
  thread_segment[thread] = 0;
}

}  // namespace

void checker_add_device(const char* base, std::size_t reserved) { add_shadow(base, reserved, false); }
void checker_set_shared(const char* base, std::size_t reserved) { add_shadow(base, reserved, true); }

void checker_allocated(const void* address, std::size_t bytes) {
  if (!checker_on) return;
  Shadow& shadow = *shadow_of(address);
  each_word(shadow, address, bytes, [&](std::size_t word, std::uint8_t mask) {
    shadow.states[word] = static_cast<std::uint8_t>((shadow.states[word] & ~(mask << 4)) | mask);
    return true;
  });
}

void checker_freed(const void* address, std::size_t bytes) {
  if (!checker_on) return;
  Shadow& shadow = *shadow_of(address);
  each_word(shadow, address, bytes, [&](std::size_t word, std::uint8_t mask) {
    shadow.states[word] &= static_cast<std::uint8_t>(~(mask | mask << 4));
    return true;
  });
}

void checker_copied(const void* to, const void* from, std::size_t bytes) {
  if (!checker_on) return;
  Shadow* target = shadow_of(to);
  if (target == nullptr) return;
  const Shadow* source = from != nullptr ? shadow_of(from) : nullptr;
  const auto offset = source ? static_cast<const char*>(from) - source->base : 0;
  const auto start = static_cast<const char*>(to) - target->base;
  each_word(*target, to, bytes, [&](std::size_t word, std::uint8_t mask) {
    std::uint8_t written = static_cast<std::uint8_t>(mask << 4);
    if (source != nullptr) {  // what wasn't written there isn't written here
      const auto from_byte = static_cast<std::size_t>(offset + static_cast<std::ptrdiff_t>(word * 4) - start);
      for (unsigned b = 0; b < 4; ++b)
        if ((mask >> b & 1) != 0 &&
            (source->states[(from_byte + b) / 4] >> (4 + (from_byte + b) % 4) & 1) == 0)
          written &= static_cast<std::uint8_t>(~(16u << b));
    }
    target->states[word] = static_cast<std::uint8_t>((target->states[word] & ~(mask << 4)) | written);
    return true;
  });
}

void checker_begin_launch(const KernelLaunch&) {
  if (!checker_on) return;
  segments.clear();
  releases.clear();
  if (next_id > 0xf0000000u) {  // ids begin anew, and so do all cells
    for (Shadow& shadow : shadows) {
      munmap(shadow.cells, (shadow.size / 4 + 8) * sizeof(Cell));
      shadow.cells = map_zeros<Cell>(shadow.size / 4 + 8);
    }
    next_id = 1;
  }
  first_id = next_id;
  block_number = 0;
  atomic_under_way = false;
}

void checker_end_launch() {}

void checker_begin_block() {
  if (!checker_on) return;
  ++block_number;
  epoch = 0;
  fenced = false;
  acquires.clear();
  std::memset(thread_segment, 0, executor.count * sizeof(Id));
  if (clocks_used) {
    std::memset(clocks, 0, sizeof clocks);
    std::memset(seen, 0, sizeof seen);
    clocks_used = false;
  }
}

void checker_block_barrier() {
  if (!checker_on) return;
  ++epoch;
  std::memset(thread_segment, 0, executor.count * sizeof(Id));
}

void checker_warp_barrier(unsigned first, unsigned mask) {
  if (!checker_on) return;
  clocks_used = true;
  std::uint32_t joint[32] = {};
  for (unsigned l = 0; l < 32; ++l) {
    if ((mask >> l & 1) == 0) continue;
    seen[first + l][l] = ++clocks[first + l];
    thread_segment[first + l] = 0;
    for (unsigned other = 0; other < 32; ++other)
      joint[other] = std::max(joint[other], seen[first + l][other]);
  }
  for (unsigned l = 0; l < 32; ++l)
    if ((mask >> l & 1) != 0) std::memcpy(seen[first + l], joint, sizeof joint);
}

void checker_access(const void* address, std::size_t bytes, Access kind, const void* pc) {
  if (atomic_under_way) {  // its load is told as the whole operation, its store not at all
    if (kind == Access::write) return;
    kind = Access::atomic;
  }
  const auto* p = static_cast<const char*>(address);
  for (Shadow& shadow : shadows) {
    if (static_cast<std::size_t>(p - shadow.base) >= shadow.size) continue;
    if (kind == Access::atomic && !shadow.shared) synchronize_blocks(address, executor.current);
    return access({shadow, address, bytes, kind, executor.current, compress(pc)});
  }
  if (!is_host_memory_of_kernels(address))
    fault_at(source_line(pc),
             std::string(name_of(kind)) + " " + std::to_string(bytes) + " bytes of the host's memory");
}

void checker_misaligned(const void* address, std::size_t bytes, const void* pc) {
  if (const Shadow* shadow = shadow_of(address))
    fault_at(source_line(pc), "accesses " + describe_memory(*shadow, address, bytes) + ": misaligned");
}

void checker_access(unsigned thread, const void* address, std::size_t bytes, Access kind, Place place) {
  if (!checker_on) return;
  if (Shadow* shadow = shadow_of(address)) access({*shadow, address, bytes, kind, thread, compress(place)});
}

void begin_atomic() { atomic_under_way = true; }
void end_atomic() { atomic_under_way = false; }
void fence() { fenced = true; }

}  // namespace weft::emulated
