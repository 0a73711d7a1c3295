// Kernels with one mistake each. "// HERE <case>" marks the line that the report must name.
#include "cases.h"

using namespace weft::cuda;

namespace {

constexpr int block = 64;

__global__ void read_before_barrier_kernel(float* out, const float* in) {
  SHARED(float, tile, [block]);
  tile[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = tile[block - 1 - threadIdx.x];  // HERE read_before_barrier
}

__global__ void write_before_barrier_kernel(float* out, const float* in) {
  SHARED(float, tile, [block]);
  for (int i = 0; i < 2; ++i) {
    tile[threadIdx.x] = in[threadIdx.x] + static_cast<float>(i);
    __syncthreads();
    out[threadIdx.x] = tile[block - 1 - threadIdx.x];  // HERE write_before_barrier
  }
}

__global__ void missing_warp_barrier_kernel(float* out, const float* in) {
  SHARED(float, tile, [block]);
  float v = in[threadIdx.x];
  for (int i = 0; i < 3; ++i) {
    tile[threadIdx.x] = v;
    __syncwarp();
    v = tile[threadIdx.x ^ 31];  // HERE missing_warp_barrier
  }
  out[threadIdx.x] = v;
}

__global__ void shared_write_kernel(float* out, const float* in, int shift) {
  SHARED(float, tile, [block]);
  tile[static_cast<int>(threadIdx.x) + shift] = in[threadIdx.x];  // HERE shared_write
  __syncthreads();
  if (threadIdx.x > 0) out[threadIdx.x] = tile[threadIdx.x];
}

__global__ void dynamic_read_kernel(float* out, int shift) {
  DYNAMIC_SHARED(float, tile);
  tile[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = tile[static_cast<int>(threadIdx.x) + shift];  // HERE dynamic_read
}

__global__ void global_write_kernel(float* out, int shift) {
  out[static_cast<int>(threadIdx.x) + shift] = 1;  // HERE global_write
}

__global__ void global_read_kernel(float* out, const float* in, int shift) {
  out[threadIdx.x] = in[static_cast<int>(threadIdx.x) + shift];  // HERE global_read
}

__global__ void bytes_write_kernel(unsigned char* out, int shift) {
  out[static_cast<int>(threadIdx.x) + shift] = 1;  // HERE bytes_write
}

__global__ void host_memory_kernel(float* out) {
  out[0] = 1;  // HERE host_memory
}

__global__ void wild_pointer_kernel(float* out) {
  out[std::size_t{1} << 46] = 1;  // HERE wild_pointer
}

__global__ void unwritten_shared_kernel(float* out) {
  SHARED(float, tile, [block]);
  if (threadIdx.x != 7) tile[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];  // HERE unwritten_shared
}

__global__ void unwritten_global_kernel(float* out, const float* in) {
  out[threadIdx.x] = in[threadIdx.x];  // HERE unwritten_global
}

__global__ void race_in_block_kernel(float* out) {
  out[threadIdx.x / 2] = 1;  // HERE race_in_block
}

__global__ void race_of_blocks_kernel(int* out) {
  if (threadIdx.x == 0) out[0] = static_cast<int>(blockIdx.x);  // HERE race_of_blocks
}

__global__ void read_of_other_block_kernel(float* out, float* numbers) {
  numbers[blockIdx.x] = 1;
  out[blockIdx.x] = numbers[gridDim.x - 1 - blockIdx.x];  // HERE read_of_other_block
}

__global__ void missing_fence_kernel(float* out, float* partial, unsigned* counter) {
  SHARED(bool, last, );
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = 1;
    last = atomicAdd(counter, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x < gridDim.x) out[threadIdx.x] = partial[threadIdx.x];  // HERE missing_fence
}

__global__ void plain_and_atomic_kernel(int* out) {
  atomicAdd(out, 1);
  if (threadIdx.x == 40) out[0] = 0;  // HERE plain_and_atomic
}

__global__ void copy_not_waited_for_kernel(float* out, const float* in) {
  DYNAMIC_SHARED(float4, buffer);
  cp_async<16>(buffer + threadIdx.x, in + 4 * threadIdx.x);
  cp_async_commit();
  cp_async_wait<1>();
  __syncthreads();
  out[threadIdx.x] = buffer[threadIdx.x ^ 1].x;  // HERE copy_not_waited_for
}

__global__ void copy_without_barrier_kernel(float* out, const float* in) {
  DYNAMIC_SHARED(float4, buffer);
  cp_async<16>(buffer + threadIdx.x, in + 4 * threadIdx.x);
  cp_async_commit();
  cp_async_wait<0>();
  out[threadIdx.x] = buffer[threadIdx.x ^ 1].x;  // HERE copy_without_barrier
}

__global__ void misaligned_copy_kernel(const float* in) {
  DYNAMIC_SHARED(float, buffer);
  cp_async<16>(buffer + threadIdx.x, in);  // HERE misaligned_copy
}

__global__ void misaligned_kernel(float4* out) {
  SHARED(float, tile, [block * 4]);
  auto* words = reinterpret_cast<float4*>(tile);
  words[threadIdx.x] = make_float4(1, 2, 3, 4);
  out[threadIdx.x] = words[threadIdx.x];  // HERE misaligned
}

__global__ void divergent_barrier_kernel(int n) {
  if (static_cast<int>(threadIdx.x) < n)
    __syncthreads();  // AND divergent_barrier
  else
    __syncthreads();  // HERE divergent_barrier
}

__global__ void barrier_after_exit_kernel(int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  __syncthreads();  // HERE barrier_after_exit
}

__global__ void deadlock_kernel() {
  if (threadIdx.x < 20)
    __syncthreads();  // AND deadlock
  else
    __syncwarp();  // AND deadlock
}

__global__ void mask_without_caller_kernel(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffff0000u, 1.0f, 0);  // HERE mask_without_caller
}

__global__ void mask_beyond_block_kernel(float* out) {
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);  // HERE mask_beyond_block
}

__global__ void two_masks_kernel(float* out) {
  const unsigned mask = threadIdx.x < 16 ? 0x0001ffffu : 0xffff0000u;
  out[threadIdx.x] = __shfl_xor_sync(mask, 1.0f, 1);  // HERE two_masks
  __syncthreads();
}

__global__ void divergent_warp_kernel(float* out) {
  float v = 1;
  if (threadIdx.x % 32 < 16)
    v = __shfl_xor_sync(0xffffffffu, v, 1);  // AND divergent_warp
  else
    v = __shfl_xor_sync(0xffffffffu, v, 2);  // HERE divergent_warp
  out[threadIdx.x] = v;
}

__global__ void much_static_memory_kernel(float* out) {
  SHARED(float, tile, [13 << 10]);  // HERE much_static_memory
  tile[threadIdx.x] = 1;
  out[threadIdx.x] = tile[threadIdx.x];
}

__global__ void divide_by_zero_kernel(int* out) {
  out[0] = 7 / out[1];  // HERE divide_by_zero
}

}  // namespace

CASE(read_before_barrier) {
  launch(read_before_barrier_kernel, 1, block, 0, new_stream(), device_memory<float>(block),
         device_numbers<float>(block));
}
CASE(write_before_barrier) {
  launch(write_before_barrier_kernel, 1, block, 0, new_stream(), device_memory<float>(block),
         device_numbers<float>(block));
}
CASE(missing_warp_barrier) {
  launch(missing_warp_barrier_kernel, 1, block, 0, new_stream(), device_memory<float>(block),
         device_numbers<float>(block));
}
CASE(shared_write) {
  launch(shared_write_kernel, 1, block, 0, new_stream(), device_memory<float>(block),
         device_numbers<float>(block), 1);
}
CASE(dynamic_read) {
  launch(dynamic_read_kernel, 1, block, block * 4, new_stream(), device_memory<float>(block), 1);
}
CASE(global_write) { launch(global_write_kernel, 1, block, 0, new_stream(), device_memory<float>(block), 1); }
CASE(global_read) {
  launch(global_read_kernel, 1, block, 0, new_stream(), device_memory<float>(block),
         device_numbers<float>(block), -1);
}
CASE(bytes_write) { launch(bytes_write_kernel, 1, 62, 0, new_stream(), device_memory<unsigned char>(62), 1); }
CASE(host_memory) {
  static std::vector<float> numbers(4);
  launch(host_memory_kernel, 1, 1, 0, new_stream(), numbers.data());
}
CASE(wild_pointer) { launch(wild_pointer_kernel, 1, 1, 0, new_stream(), device_memory<float>(1)); }
CASE(unwritten_shared) {
  launch(unwritten_shared_kernel, 1, block, 0, new_stream(), device_memory<float>(block));
}
CASE(unwritten_global) {
  launch(unwritten_global_kernel, 1, block, 0, new_stream(), device_memory<float>(block),
         device_memory<float>(block));
}
CASE(race_in_block) { launch(race_in_block_kernel, 1, block, 0, new_stream(), device_memory<float>(block)); }
CASE(race_of_blocks) { launch(race_of_blocks_kernel, 4, block, 0, new_stream(), device_memory<int>(1)); }
CASE(read_of_other_block) {
  launch(read_of_other_block_kernel, 4, 1, 0, new_stream(), device_memory<float>(4),
         device_numbers<float>(4));
}
CASE(missing_fence) {
  launch(missing_fence_kernel, 4, block, 0, new_stream(), device_memory<float>(4), device_memory<float>(4),
         device_numbers<unsigned>(1));
}
CASE(plain_and_atomic) { launch(plain_and_atomic_kernel, 1, block, 0, new_stream(), device_numbers<int>(1)); }
CASE(copy_not_waited_for) {
  launch(copy_not_waited_for_kernel, 1, 32, 512, new_stream(), device_memory<float>(32),
         device_numbers<float>(128));
}
CASE(copy_without_barrier) {
  launch(copy_without_barrier_kernel, 1, 32, 512, new_stream(), device_memory<float>(32),
         device_numbers<float>(128));
}
CASE(misaligned_copy) {
  launch(misaligned_copy_kernel, 1, 32, 512, new_stream(), device_numbers<float>(128));
}
CASE(misaligned) { launch(misaligned_kernel, 1, block, 0, new_stream(), device_memory<float4>(block)); }
CASE(divergent_barrier) { launch(divergent_barrier_kernel, 1, block, 0, new_stream(), 40); }
CASE(barrier_after_exit) { launch(barrier_after_exit_kernel, 1, block, 0, new_stream(), 40); }
CASE(deadlock) { launch(deadlock_kernel, 1, block, 0, new_stream()); }
CASE(mask_without_caller) {
  launch(mask_without_caller_kernel, 1, 32, 0, new_stream(), device_memory<float>(32));
}
CASE(mask_beyond_block) {
  launch(mask_beyond_block_kernel, 1, 48, 0, new_stream(), device_memory<float>(48));
}
CASE(two_masks) { launch(two_masks_kernel, 1, 32, 0, new_stream(), device_memory<float>(32)); }
CASE(divergent_warp) { launch(divergent_warp_kernel, 1, 32, 0, new_stream(), device_memory<float>(32)); }
CASE(much_static_memory) {
  launch(much_static_memory_kernel, 1, 32, 0, new_stream(), device_memory<float>(32));
}
CASE(divide_by_zero) {
  int* numbers = device_memory<int>(2);
  cudaMemset(numbers, 0, 8);
  launch(divide_by_zero_kernel, 1, 1, 0, new_stream(), numbers);
}
