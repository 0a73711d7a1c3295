// Vectors in part, turned, and summed: what GCC's vector extensions lack.
#pragma once
#include <cstdint>

#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

// The first `count` lanes from memory, zeros in the others. Nothing behind them is read.
template <class T>
[[gnu::always_inline]] inline typename VecOf<T>::type load_some(const T* from, std::int64_t count) {
#if defined(WEFT_ISA_avx512)
  typedef float F __attribute__((vector_size(64)));
  typedef double D __attribute__((vector_size(64)));
  const unsigned mask = (1u << count) - 1;
  if constexpr (sizeof(T) == 4)
    return __builtin_ia32_loadups512_mask(from, F{}, static_cast<unsigned short>(mask));
  else
    return __builtin_ia32_loadupd512_mask(from, D{}, static_cast<unsigned char>(mask));
#else
  typename VecOf<T>::type v = {};
  for (int l = 0; l < count; ++l) v[l] = from[l];
  return v;
#endif
}

template <class T>
[[gnu::always_inline]] inline void store_some(T* to, typename VecOf<T>::type v, std::int64_t count) {
#if defined(WEFT_ISA_avx512)
  typedef float F __attribute__((vector_size(64)));
  typedef double D __attribute__((vector_size(64)));
  const unsigned mask = (1u << count) - 1;
  if constexpr (sizeof(T) == 4)
    __builtin_ia32_storeups512_mask(to, reinterpret_cast<F>(v), static_cast<unsigned short>(mask));
  else
    __builtin_ia32_storeupd512_mask(to, reinterpret_cast<D>(v), static_cast<unsigned char>(mask));
#else
  for (int l = 0; l < count; ++l) to[l] = v[l];
#endif
}

template <class T>
struct LaneIndex;
template <>
struct LaneIndex<float> {
  typedef std::int32_t type __attribute__((vector_size(vector_bytes)));
};
template <>
struct LaneIndex<double> {
  typedef std::int64_t type __attribute__((vector_size(vector_bytes)));
};

// a0 b0 a1 b1 ... of the lower (half = 0) or the upper halves of two vectors.
template <class T>
[[gnu::always_inline]] inline typename VecOf<T>::type interleave(typename VecOf<T>::type a,
                                                                 typename VecOf<T>::type b, int half) {
  constexpr int L = lanes_of<T>;
  typename LaneIndex<T>::type index;
#pragma GCC unroll 16
  for (int l = 0; l < L; ++l) index[l] = l / 2 + half * (L / 2) + l % 2 * L;
  return __builtin_shuffle(a, b, index);
}

// The even lanes of a and b.
template <class T>
[[gnu::always_inline]] inline typename VecOf<T>::type even_lanes(typename VecOf<T>::type a,
                                                                 typename VecOf<T>::type b) {
  typename LaneIndex<T>::type index;
#pragma GCC unroll 16
  for (int l = 0; l < lanes_of<T>; ++l) index[l] = 2 * l;
  return __builtin_shuffle(a, b, index);
}

// The square matrix whose rows are r becomes its transpose: each round joins row i with row i + L/2.
template <class T>
[[gnu::always_inline]] inline void transpose(typename VecOf<T>::type (&r)[lanes_of<T>]) {
  constexpr int L = lanes_of<T>;
#pragma GCC unroll 4
  for (int round = 1; round < L; round *= 2) {
    typename VecOf<T>::type to[L];
#pragma GCC unroll 16
    for (int i = 0; i < L / 2; ++i) {
      to[2 * i] = interleave<T>(r[i], r[i + L / 2], 0);
      to[2 * i + 1] = interleave<T>(r[i], r[i + L / 2], 1);
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) r[i] = to[i];
  }
}

// Lane i of the result is the sum of the lanes of r[i].
template <class T>
[[gnu::always_inline]] inline typename VecOf<T>::type sum_each(
    const typename VecOf<T>::type (&r)[lanes_of<T>]) {
  constexpr int L = lanes_of<T>;
  typename VecOf<T>::type s[L];
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i) s[i] = r[i];
#pragma GCC unroll 4
  for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 16
    for (int i = 0; i < half; ++i)
      s[i] = interleave<T>(s[i], s[i + half], 0) + interleave<T>(s[i], s[i + half], 1);
  return s[0];
}

}  // namespace weft::cpu::WEFT_ISA
