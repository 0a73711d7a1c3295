// What a device can do at most: the limit beside which bench/ and weft.profile set each kernel.
//
//   fma_loop  every thread multiplies and adds in registers, in chains that are long enough to fill the units
//             and touch no memory: flop[t] = the operations that thread t did, 2 for each multiply-add.
//             On CUDA the threads are shares of the device's, each of which fills some of its SMs
#pragma once
#include <cstdint>

namespace weft {

class Array;
struct Device;

struct FmaLoopArgs {
  std::int64_t iterations;
  std::int64_t threads;
  double* flop;  // (threads)
};

// float64 of shape (num_threads()) on the CPU, (1) on another device. ValueError for negative iterations.
Array fma_loop(std::int64_t iterations, const Device& device);

}  // namespace weft
