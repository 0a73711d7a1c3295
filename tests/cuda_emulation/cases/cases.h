// The emulator's own tests: small kernels and uses of the runtime, right and wrong ones. A program of all
// cases runs the one that it is given by name, and prints what came of it; tests/cuda/test_cuda_emulation.py knows
// what must.
#pragma once

#include <cstdio>
#include <vector>

#include "emulated_device.h"

struct Case {
  const char* name;
  void (*run)();
  Case* next;
  Case(const char* name, void (*run)());
};
#define CASE(name)                            \
  static void run_##name();                   \
  static Case case_##name(#name, run_##name); \
  static void run_##name()

// A stream, and device memory with 0, 1, 2, ... in it; freed by the process's end.
cudaStream_t new_stream();
template <class T>
T* device_numbers(int count) {
  std::vector<T> numbers(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) numbers[static_cast<std::size_t>(i)] = static_cast<T>(i);
  T* pointer = nullptr;
  cudaMalloc(&pointer, static_cast<std::size_t>(count) * sizeof(T));
  cudaMemcpy(pointer, numbers.data(), static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyHostToDevice);
  return pointer;
}
template <class T>
T* device_memory(int count) {
  T* pointer = nullptr;
  cudaMalloc(&pointer, static_cast<std::size_t>(count) * sizeof(T));
  return pointer;
}
template <class T>
std::vector<T> to_host(const T* from, int count) {
  std::vector<T> numbers(static_cast<std::size_t>(count));
  cudaMemcpy(numbers.data(), from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDeviceToHost);
  return numbers;
}

void print_error(cudaError_t error);
// Prints "wrong" once where it is false.
void expect(bool right, const char* what);
