// What a kernel's thread sees of its block and warp: indices, shared memory, barriers, warp operations,
// atomics, asynchronous copies. Each waits by leaving its fiber (emulated_block.cpp, emulated_warp.cpp).
#pragma once

#include <type_traits>

#include "emulated_block.h"
#include "emulated_math.h"
#include "emulated_types.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace weft::emulated {

// Where a call stands in the source: default arguments are evaluated there.
#define WEFT_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// --- Shared memory ---

// A variable of SHARED: one for each instance of its function, as in CUDA; a place in each block that meets
// it.
struct SharedVariable {
  std::size_t size, alignment;
  const char* name;
  Place place;
  std::uint64_t block = 0;  // in which `address` is valid
  void* address = nullptr;
};
extern std::uint64_t current_block;  // counts all blocks that ran
void* allocate_shared(SharedVariable& variable);
inline void* shared_variable(SharedVariable& variable) {
  return variable.block == current_block ? variable.address : allocate_shared(variable);
}
void* dynamic_shared(std::size_t alignment, Place place);

// --- Barriers ---

enum class Barrier { plain, count, all, any };
// Returns what __syncthreads_count, _and, _or do.
int block_barrier(Barrier kind, bool predicate, Place place);

// --- Warps ---

enum class Warp {
  sync,
  shuffle,
  shuffle_up,
  shuffle_down,
  shuffle_xor,
  ballot,
  any,
  all,
  match_any,
  add,
  min,
  max,
  bit_and,
  bit_or,
  bit_xor,
  add_signed,
  min_signed,
  max_signed,
  ldmatrix,
  ldmatrix_transposed,
  mma_bf16,
};
// What a lane brings and gets. The last lane of the mask to arrive computes for all.
struct WarpOperation {
  Warp kind;
  unsigned mask;
  Place place;
  std::uint64_t value = 0, result = 0;  // bits
  int lane = 0, width = 32;             // of shuffles: source lane, delta, or mask
  float* d = nullptr;                   // of ldmatrix and mma: fragments, and a row in shared memory
  std::uint32_t* r = nullptr;
  const std::uint32_t *a = nullptr, *b = nullptr;
  const void* row = nullptr;
};
void warp_operation(WarpOperation& operation);

template <class T>
inline std::uint64_t to_bits(T value) {
  if constexpr (sizeof(T) == 8)
    return bits_as<std::uint64_t>(value);
  else
    return bits_as<std::uint32_t>(value);
}
template <class T>
inline T from_bits(std::uint64_t bits) {
  if constexpr (sizeof(T) == 8)
    return bits_as<T>(bits);
  else
    return bits_as<T>(static_cast<std::uint32_t>(bits));
}
// Small integers go as int, as CUDA's overloads take them.
template <class T>
using Shuffled = std::conditional_t<std::is_integral_v<T> && (sizeof(T) < 4), int, T>;
template <class T>
inline T shuffle(Warp kind, unsigned mask, T value, int lane, int width, Place place) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "CUDA shuffles words of 4 or 8 bytes");
  WarpOperation operation{kind, mask, place, to_bits(value)};
  operation.lane = lane;
  operation.width = width;
  warp_operation(operation);
  return from_bits<T>(operation.result);
}
inline std::uint64_t vote(Warp kind, unsigned mask, std::uint64_t value, Place place) {
  WarpOperation operation{kind, mask, place, value};
  warp_operation(operation);
  return operation.result;
}

// --- Asynchronous copies ---

void copy_async(void* to, const void* from, int bytes, bool valid, Place place);
void commit_copies();
void wait_copies(int pending);

}  // namespace weft::emulated

// A bare __shared__ isn't defined: it would escape the NaN fill and the checks.
#define SHARED(type, name, dims)                                                         \
  using name##_weft_type = type dims;                                                    \
  static ::weft::emulated::SharedVariable name##_weft_variable{                          \
      sizeof(name##_weft_type), alignof(name##_weft_type), #name, {__FILE__, __LINE__}}; \
  name##_weft_type& name =                                                               \
      *static_cast<name##_weft_type*>(::weft::emulated::shared_variable(name##_weft_variable))
#define DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(::weft::emulated::dynamic_shared(alignof(type), {__FILE__, __LINE__}))

inline void __syncthreads(WEFT_PLACE) {
  weft::emulated::block_barrier(weft::emulated::Barrier::plain, false, {file, line});
}
inline int __syncthreads_count(int predicate, WEFT_PLACE) {
  return weft::emulated::block_barrier(weft::emulated::Barrier::count, predicate != 0, {file, line});
}
inline int __syncthreads_and(int predicate, WEFT_PLACE) {
  return weft::emulated::block_barrier(weft::emulated::Barrier::all, predicate != 0, {file, line});
}
inline int __syncthreads_or(int predicate, WEFT_PLACE) {
  return weft::emulated::block_barrier(weft::emulated::Barrier::any, predicate != 0, {file, line});
}

inline void __syncwarp(unsigned mask = 0xffffffffu, WEFT_PLACE) {
  weft::emulated::vote(weft::emulated::Warp::sync, mask, 0, {file, line});
}
#define WEFT_SHUFFLE(name, kind, argument)                                                       \
  template <class T>                                                                             \
  inline weft::emulated::Shuffled<T> name(unsigned mask, T value, argument lane, int width = 32, \
                                          WEFT_PLACE) {                                          \
    return weft::emulated::shuffle<weft::emulated::Shuffled<T>>(                                 \
        weft::emulated::Warp::kind, mask, value, static_cast<int>(lane), width, {file, line});   \
  }
WEFT_SHUFFLE(__shfl_sync, shuffle, int)
WEFT_SHUFFLE(__shfl_up_sync, shuffle_up, unsigned)
WEFT_SHUFFLE(__shfl_down_sync, shuffle_down, unsigned)
WEFT_SHUFFLE(__shfl_xor_sync, shuffle_xor, int)
#undef WEFT_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int predicate, WEFT_PLACE) {
  return static_cast<unsigned>(
      weft::emulated::vote(weft::emulated::Warp::ballot, mask, predicate != 0, {file, line}));
}
inline int __any_sync(unsigned mask, int predicate, WEFT_PLACE) {
  return static_cast<int>(
      weft::emulated::vote(weft::emulated::Warp::any, mask, predicate != 0, {file, line}));
}
inline int __all_sync(unsigned mask, int predicate, WEFT_PLACE) {
  return static_cast<int>(
      weft::emulated::vote(weft::emulated::Warp::all, mask, predicate != 0, {file, line}));
}
template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, WEFT_PLACE) {
  return static_cast<unsigned>(weft::emulated::vote(weft::emulated::Warp::match_any, mask,
                                                    weft::emulated::to_bits(value), {file, line}));
}
#define WEFT_WARP_REDUCE(name, type, kind)                                                \
  inline type name(unsigned mask, type value, WEFT_PLACE) {                               \
    return weft::emulated::from_bits<type>(weft::emulated::vote(                          \
        weft::emulated::Warp::kind, mask, weft::emulated::to_bits(value), {file, line})); \
  }
WEFT_WARP_REDUCE(__reduce_add_sync, unsigned, add)
WEFT_WARP_REDUCE(__reduce_min_sync, unsigned, min)
WEFT_WARP_REDUCE(__reduce_max_sync, unsigned, max)
WEFT_WARP_REDUCE(__reduce_and_sync, unsigned, bit_and)
WEFT_WARP_REDUCE(__reduce_or_sync, unsigned, bit_or)
WEFT_WARP_REDUCE(__reduce_xor_sync, unsigned, bit_xor)
WEFT_WARP_REDUCE(__reduce_add_sync, int, add_signed)
WEFT_WARP_REDUCE(__reduce_min_sync, int, min_signed)
WEFT_WARP_REDUCE(__reduce_max_sync, int, max_signed)
#undef WEFT_WARP_REDUCE

// --- Atomics and fences. Only of integers: float atomics would make a result depend on the order. ---

namespace weft::emulated {
// For the checker: the accesses of `operation` between these are atomic ones.
void begin_atomic();
void end_atomic();
void fence();
template <class T, class Operation>
inline T atomic(T* address, Operation operation) {
  begin_atomic();
  const T old = *static_cast<volatile T*>(address);
  *static_cast<volatile T*>(address) = operation(old);
  end_atomic();
  return old;
}
}  // namespace weft::emulated

#define WEFT_ATOMIC(name, type, expression)                                                              \
  inline type name(type* address, type value) {                                                          \
    return weft::emulated::atomic(address, [value](type old) { return static_cast<type>(expression); }); \
  }
#define WEFT_ATOMICS(type)                                                                          \
  WEFT_ATOMIC(atomicMin, type, value < old ? value : old)                                           \
  WEFT_ATOMIC(atomicMax, type, value > old ? value : old)                                           \
  WEFT_ATOMIC(atomicExch, type, (static_cast<void>(old), value))                                    \
  WEFT_ATOMIC(atomicAnd, type, old& value)                                                          \
  WEFT_ATOMIC(atomicOr, type, old | value)                                                          \
  WEFT_ATOMIC(atomicXor, type, old ^ value)                                                         \
  inline type atomicCAS(type* address, type compare, type value) {                                  \
    return weft::emulated::atomic(address, [=](type old) { return old == compare ? value : old; }); \
  }
WEFT_ATOMICS(int)
WEFT_ATOMICS(unsigned)
WEFT_ATOMICS(unsigned long long)
// Overflow wraps.
WEFT_ATOMIC(atomicAdd, int, static_cast<unsigned>(old) + static_cast<unsigned>(value))
WEFT_ATOMIC(atomicAdd, unsigned, old + value)
WEFT_ATOMIC(atomicAdd, unsigned long long, old + value)
WEFT_ATOMIC(atomicSub, int, static_cast<unsigned>(old) - static_cast<unsigned>(value))
WEFT_ATOMIC(atomicSub, unsigned, old - value)
WEFT_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
WEFT_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
#undef WEFT_ATOMICS
#undef WEFT_ATOMIC
float atomicAdd(float*, float) = delete;
double atomicAdd(double*, double) = delete;

// One OS thread: every access is in order. Only the checker asks whether there was a fence.
inline void __threadfence() { weft::emulated::fence(); }
inline void __threadfence_block() {}
inline void __threadfence_system() { weft::emulated::fence(); }
[[noreturn]] void __trap();
long long clock64();

// --- Loads and stores with a hint for the cache ---

#define WEFT_LOAD(name)       \
  template <class T>          \
  inline T name(const T* p) { \
    return *p;                \
  }
#define WEFT_STORE(name)                                  \
  template <class T>                                      \
  inline void name(T* p, std::type_identity_t<T> value) { \
    *p = value;                                           \
  }
WEFT_LOAD(__ldg)
WEFT_LOAD(__ldca)
WEFT_LOAD(__ldcg)
WEFT_LOAD(__ldcs)
WEFT_LOAD(__ldlu)
WEFT_LOAD(__ldcv)
WEFT_STORE(__stwb)
WEFT_STORE(__stcg)
WEFT_STORE(__stcs)
WEFT_STORE(__stwt)
#undef WEFT_LOAD
#undef WEFT_STORE
