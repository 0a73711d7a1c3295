// Several neighbouring elements as one access of memory, up to 16 bytes: what a memory-bound kernel reads and
// writes.
#pragma once
#include "cuda/device/device.h"

namespace weft::cuda {

template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

// How many T make 16 bytes.
template <class T>
constexpr int per_16_bytes = 16 / static_cast<int>(sizeof(T));

// Whether an address and all its multiples of `bytes` onwards can be read in pieces of that size.
inline bool aligned(const void* p, std::size_t bytes = 16) {
  return reinterpret_cast<std::uintptr_t>(p) % bytes == 0;
}

template <class T, int N>
__device__ __forceinline__ Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <class T, int N>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

}  // namespace weft::cuda
