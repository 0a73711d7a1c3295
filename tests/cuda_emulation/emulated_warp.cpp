// Warp operations: each lane posts its own and waits; the last of the mask to arrive computes for all of
// them. And cp.async, which is done when it is waited for.
#include <cstring>

#include "emulated_checker.h"
#include "emulated_scheduler.h"

namespace weft::emulated {
namespace {

struct Lanes {
  WarpOperation* lane[32] = {};  // null: takes no part
  unsigned first = 0;            // the number of lane 0's thread
};

// Source lane of a shuffle, or the lane itself where that would leave its segment of `width` lanes.
int shuffle_source(const WarpOperation& o, int lane) {
  const int segment = lane & ~(o.width - 1), end = segment + o.width;
  switch (o.kind) {
    case Warp::shuffle: return segment + (o.lane & (o.width - 1));
    case Warp::shuffle_up: return lane - o.lane < segment ? lane : lane - o.lane;
    case Warp::shuffle_down: return lane + o.lane >= end ? lane : lane + o.lane;
    default: return (lane ^ o.lane) >= end ? lane : lane ^ o.lane;
  }
}

void shuffle_all(const Lanes& lanes) {
  for (int l = 0; l < 32; ++l) {
    WarpOperation* o = lanes.lane[l];
    if (o == nullptr) continue;
    const int source = shuffle_source(*o, l);
    // A lane that takes no part has no value: NaN, or -1.
    o->result =
        source >= 0 && source < 32 && lanes.lane[source] ? lanes.lane[source]->value : ~std::uint64_t{0};
  }
}

void vote_all(const Lanes& lanes, Warp kind) {
  unsigned yes = 0, present = 0;
  for (int l = 0; l < 32; ++l)
    if (lanes.lane[l] != nullptr) {
      present |= 1u << l;
      if (lanes.lane[l]->value != 0) yes |= 1u << l;
    }
  const unsigned result = kind == Warp::ballot ? yes : kind == Warp::any ? yes != 0 : yes == present;
  for (WarpOperation* o : lanes.lane)
    if (o != nullptr) o->result = result;
}

void match_all(const Lanes& lanes) {
  for (WarpOperation* o : lanes.lane) {
    if (o == nullptr) continue;
    o->result = 0;
    for (int l = 0; l < 32; ++l)
      if (lanes.lane[l] != nullptr && lanes.lane[l]->value == o->value) o->result |= 1u << l;
  }
}

std::uint32_t reduce_two(Warp kind, std::uint32_t a, std::uint32_t b) {
  const auto signed_a = static_cast<std::int32_t>(a), signed_b = static_cast<std::int32_t>(b);
  switch (kind) {
    case Warp::min: return a < b ? a : b;
    case Warp::max: return a > b ? a : b;
    case Warp::min_signed: return signed_a < signed_b ? a : b;
    case Warp::max_signed: return signed_a > signed_b ? a : b;
    case Warp::bit_and: return a & b;
    case Warp::bit_or: return a | b;
    case Warp::bit_xor: return a ^ b;
    default: return a + b;
  }
}

void reduce_all(const Lanes& lanes, Warp kind) {
  bool any = false;
  std::uint32_t sum = 0;
  for (WarpOperation* o : lanes.lane) {
    if (o == nullptr) continue;
    const auto value = static_cast<std::uint32_t>(o->value);
    sum = any ? reduce_two(kind, sum, value) : value;
    any = true;
  }
  for (WarpOperation* o : lanes.lane)
    if (o != nullptr) o->result = sum;
}

// PTX ISA, "ldmatrix": lane l gives row l % 8 of tile l / 8, and gets of each tile the two words of row l / 4
// in columns 2 (l % 4) and the next; transposed: of column l / 4 in those rows.
void load_matrices(const Lanes& lanes, bool transposed) {
  std::uint16_t tile[4][8][8];
  for (unsigned l = 0; l < 32; ++l) {
    const WarpOperation& o = *lanes.lane[l];
    if (reinterpret_cast<std::uintptr_t>(o.row) % 16 != 0)
      fault(o.place, "ldmatrix: lane %u's row isn't aligned to 16 bytes", l);
    if (!in_shared(o.row, 16)) fault(o.place, "ldmatrix: lane %u's row isn't in shared memory", l);
    checker_access(lanes.first + l, o.row, 16, Access::read, o.place);
    std::memcpy(tile[l / 8][l % 8], o.row, 16);
  }
  for (unsigned l = 0; l < 32; ++l)
    for (int t = 0; t < 4; ++t) {
      const unsigned i = l / 4, j = 2 * (l % 4);
      const std::uint32_t low = transposed ? tile[t][j][i] : tile[t][i][j];
      const std::uint32_t high = transposed ? tile[t][j + 1][i] : tile[t][i][j + 1];
      lanes.lane[l]->r[t] = low | high << 16;
    }
}

float bfloat16_half(std::uint32_t words, int half) {
  return bits_as<float>(half ? words & 0xffff0000u : words << 16);
}

// PTX ISA, "Matrix fragments for mma.m16n8k16": with g = lane / 4 and t = lane % 4, a's words are rows g and
// g + 8 by columns 2 t and 2 t + 8, b's rows 2 t and 2 t + 8 of column g, d rows g and g + 8 by columns 2 t,
// 2 t + 1. Summed in double and rounded once; the hardware's order isn't documented.
void multiply_matrices(const Lanes& lanes) {
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; ++l) {
    const WarpOperation& o = *lanes.lane[l];
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; ++i)
      for (int half = 0; half < 2; ++half)
        a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + half] = bfloat16_half(o.a[i], half);
    for (int i = 0; i < 2; ++i)
      for (int half = 0; half < 2; ++half) b[2 * t + 8 * i + half][g] = bfloat16_half(o.b[i], half);
  }
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i) {
      const int row = l / 4 + 8 * (i / 2), column = 2 * (l % 4) + i % 2;
      double sum = lanes.lane[l]->d[i];
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
      lanes.lane[l]->d[i] = static_cast<float>(sum);
    }
}

void compute(const Lanes& lanes, Warp kind) {
  switch (kind) {
    case Warp::sync: return;
    case Warp::shuffle:
    case Warp::shuffle_up:
    case Warp::shuffle_down:
    case Warp::shuffle_xor: return shuffle_all(lanes);
    case Warp::ballot:
    case Warp::any:
    case Warp::all: return vote_all(lanes, kind);
    case Warp::match_any: return match_all(lanes);
    case Warp::ldmatrix:
    case Warp::ldmatrix_transposed: return load_matrices(lanes, kind == Warp::ldmatrix_transposed);
    case Warp::mma_bf16: return multiply_matrices(lanes);
    default: return reduce_all(lanes, kind);
  }
}

bool needs_whole_warp(Warp kind) {
  return kind == Warp::ldmatrix || kind == Warp::ldmatrix_transposed || kind == Warp::mma_bf16;
}

// Computes if all lanes of the mask that haven't ended wait for it. `thread` is one of them.
bool complete_if_all_arrived(unsigned thread) {
  Executor& e = executor;
  const WarpOperation& mine = *e.threads[thread].operation;
  Lanes lanes;
  lanes.first = thread / 32 * 32;
  for (unsigned l = 0; l < 32; ++l) {
    if ((mine.mask >> l & 1) == 0) continue;
    const Thread& other = e.threads[lanes.first + l];
    if (other.state == State::ended) {
      if (needs_whole_warp(mine.kind)) fault(mine.place, "%s: lane %u has ended", name_of(mine.kind), l);
      continue;
    }
    if (other.state != State::in_warp_operation || other.operation->mask != mine.mask) return false;
    lanes.lane[l] = other.operation;
  }
  compute(lanes, mine.kind);
  for (unsigned l = 0; l < 32; ++l)
    if (lanes.lane[l] != nullptr) e.wake(lanes.first + l);
  if (mine.kind == Warp::sync) checker_warp_barrier(lanes.first, mine.mask);
  return true;
}

bool power_of_two_to_32(int width) { return width >= 1 && width <= 32 && (width & (width - 1)) == 0; }

// Two lanes whose masks have a lane in common must be in the same operation, with the same mask.
void check_pair(const WarpOperation& mine, unsigned other) {
  const WarpOperation& theirs = *executor.threads[other].operation;
  if ((theirs.mask & mine.mask) == 0) return;
  if (theirs.mask != mine.mask)
    fault(mine.place, "%s with mask 0x%08x, but another lane with 0x%08x: %s", name_of(mine.kind), mine.mask,
          theirs.mask, describe(other).c_str());
  if (theirs.kind != mine.kind || theirs.place.line != mine.place.line ||
      std::strcmp(theirs.place.file, mine.place.file) != 0)
    fault(mine.place, "lanes of one warp in different operations: this one in %s, but %s", name_of(mine.kind),
          describe(other).c_str());
}

void check_arrival(const WarpOperation& mine) {
  Executor& e = executor;
  const unsigned first = e.current / 32 * 32, lane = e.current % 32;
  if ((mine.mask >> lane & 1) == 0)
    fault(mine.place, "%s: mask 0x%08x doesn't have the calling lane %u", name_of(mine.kind), mine.mask,
          lane);
  if (!power_of_two_to_32(mine.width))
    fault(mine.place, "%s: width %d is no power of two up to 32", name_of(mine.kind), mine.width);
  for (unsigned l = 0; l < 32; ++l) {
    if (first + l < e.count && e.threads[first + l].state == State::in_warp_operation)
      check_pair(mine, first + l);
    if ((mine.mask >> l & 1) == 0) continue;
    if (first + l >= e.count)
      fault(mine.place, "%s: mask 0x%08x names lane %u, which the block doesn't have", name_of(mine.kind),
            mine.mask, l);
    const Thread& other = e.threads[first + l];
    if (e.strict && other.state == State::ended)
      fault(mine.place, "%s: mask 0x%08x names lane %u, which has ended", name_of(mine.kind), mine.mask, l);
  }
}

}  // namespace

const char* name_of(Warp kind) {
  switch (kind) {
    case Warp::sync: return "__syncwarp()";
    case Warp::shuffle: return "__shfl_sync()";
    case Warp::shuffle_up: return "__shfl_up_sync()";
    case Warp::shuffle_down: return "__shfl_down_sync()";
    case Warp::shuffle_xor: return "__shfl_xor_sync()";
    case Warp::ballot: return "__ballot_sync()";
    case Warp::any: return "__any_sync()";
    case Warp::all: return "__all_sync()";
    case Warp::match_any: return "__match_any_sync()";
    case Warp::ldmatrix:
    case Warp::ldmatrix_transposed: return "ldmatrix_x4()";
    case Warp::mma_bf16: return "mma_bf16()";
    default: return "__reduce_*_sync()";
  }
}

void warp_operation(WarpOperation& operation) {
  Executor& e = executor;
  if (!in_kernel()) return;
  check_arrival(operation);
  Thread& self = e.running();
  self.operation = &operation;
  self.place = operation.place;
  self.state = State::in_warp_operation;
  complete_if_all_arrived(e.current);
  wait_in_fiber();
}

bool release_warps_after_exits() {
  Executor& e = executor;
  bool any = false;
  for (unsigned t = 0; t < e.count; ++t)
    if (e.threads[t].state == State::in_warp_operation && complete_if_all_arrived(t)) any = true;
  return any;
}

// --- cp.async ---

void copy_async(void* to, const void* from, int bytes, bool valid, Place place) {
  if (!in_kernel()) return;
  const auto size = static_cast<std::size_t>(bytes);
  if (reinterpret_cast<std::uintptr_t>(to) % size != 0 ||
      (valid && reinterpret_cast<std::uintptr_t>(from) % size != 0))
    fault(place, "cp_async<%d>: an address isn't aligned to %d bytes", bytes, bytes);
  if (!in_shared(to, size)) fault(place, "cp_async<%d>: the destination isn't in shared memory", bytes);
  checker_access(executor.current, to, size, Access::pending_write, place);
  if (valid) checker_access(executor.current, from, size, Access::read, place);
  std::memset(to, 0xFF, size);
  executor.running().copies.push_back({to, from, bytes, valid, place});
}

void commit_copies() {
  if (!in_kernel()) return;
  Thread& self = executor.running();
  self.groups.push_back(self.copies.size());
}

void wait_copies(int pending) {
  if (!in_kernel()) return;
  Thread& self = executor.running();
  const std::size_t keep = static_cast<std::size_t>(pending);
  if (self.groups.size() <= keep) return;
  const std::size_t groups = self.groups.size() - keep, end = self.groups[groups - 1];
  for (std::size_t i = 0; i < end; ++i) {
    const AsyncCopy& copy = self.copies[i];
    const auto size = static_cast<std::size_t>(copy.bytes);
    checker_access(executor.current, copy.to, size, Access::write, copy.place);
    if (copy.valid)
      std::memcpy(copy.to, copy.from, size);
    else
      std::memset(copy.to, 0, size);
  }
  self.copies.erase(self.copies.begin(), self.copies.begin() + static_cast<std::ptrdiff_t>(end));
  self.groups.erase(self.groups.begin(), self.groups.begin() + static_cast<std::ptrdiff_t>(groups));
  for (std::size_t& group : self.groups) group -= end;
}

}  // namespace weft::emulated
