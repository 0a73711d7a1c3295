// Right kernels, with all that the emulator offers: their results are compared with loops on the host, in
// every order of threads, and the checker must find nothing.
#include <cmath>

#include "cases.h"

using namespace weft::cuda;

namespace {

__global__ void __launch_bounds__(256) block_sum_kernel(float* out, const float* in, int n) {
  SHARED(float, partial, [8]);
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += 256) sum += in[i];
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < 8; ++warp) sum += partial[warp];
    *out = sum;
  }
}

// C[n,n] = A B in tiles of 16 x 16, the next ones copied while these are multiplied.
constexpr int tile = 16;
__global__ void __launch_bounds__(tile* tile)
    product_kernel(float* c, const float* a, const float* b, int n) {
  SHARED(float, a_tile, [2][tile][tile + 4]);
  SHARED(float, b_tile, [2][tile][tile + 4]);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * tile + y, column = static_cast<int>(blockIdx.x) * tile + x;
  const auto fetch = [&](int k, int stage) {
    cp_async<4>(&a_tile[stage][y][x], a + row * n + k + x, row < n && k + x < n);
    cp_async<4>(&b_tile[stage][y][x], b + (k + y) * n + column, column < n && k + y < n);
    cp_async_commit();
  };
  fetch(0, 0);
  float sum = 0;
  for (int k = 0, stage = 0; k < n; k += tile, stage ^= 1) {
    if (k + tile < n) {
      fetch(k + tile, stage ^ 1);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    __syncthreads();
    for (int i = 0; i < tile; ++i) sum = fmaf(a_tile[stage][y][i], b_tile[stage][i][x], sum);
    __syncthreads();
  }
  if (row < n && column < n) c[row * n + column] = sum;
}

__device__ unsigned short bfloat16_bits(float x) {
  return static_cast<unsigned short>(__float_as_uint(x) >> 16);
}

// C[16,8] = A[16,16] B[8,16]^T by one warp, through ldmatrix and mma.
__global__ void __launch_bounds__(32) tensor_core_kernel(float* c, const float* a, const float* b) {
  SHARED(uint4, words, [16 * 2 + 8 * 2]);  // rows of 16 bfloat16: two uint4 each
  auto* a_tile = reinterpret_cast<unsigned short*>(words);
  auto* b_tile = a_tile + 16 * 16;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += 32) a_tile[i] = bfloat16_bits(a[i]);
  for (int i = lane; i < 8 * 16; i += 32) b_tile[i] = bfloat16_bits(b[i]);
  __syncwarp();
  std::uint32_t a_words[4], b_words[4];
  ldmatrix_x4(a_words, a_tile + lane % 16 * 16 + lane / 16 * 8);
  ldmatrix_x4(b_words, b_tile + lane % 8 * 16 + lane / 8 % 2 * 8);
  float sums[4] = {0, 0, 0, 0};
  const std::uint32_t b_half[2] = {b_words[0], b_words[1]};
  mma_bf16(sums, a_words, b_half);
  for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

// An 8x8 transpose of 16-bit words by ldmatrix: out[t][i][j] = in[t][j][i].
__global__ void __launch_bounds__(32) transposed_kernel(std::uint32_t* out, const uint4* in) {
  SHARED(uint4, rows, [32]);
  rows[threadIdx.x] = in[threadIdx.x];
  __syncwarp();
  std::uint32_t words[4];
  ldmatrix_x4<true>(words, rows + threadIdx.x);
  for (int t = 0; t < 4; ++t) out[t * 32 + static_cast<int>(threadIdx.x)] = words[t];
}

__global__ void __launch_bounds__(64) last_block_kernel(float* out, float* partial, unsigned* counter) {
  SHARED(bool, last, );
  partial[blockIdx.x * 64 + threadIdx.x] = static_cast<float>(threadIdx.x);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(counter, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += partial[b * 64 + threadIdx.x];
  out[threadIdx.x] = sum;
}

__global__ void histogram_kernel(int* counts, const unsigned char* in) {
  atomicAdd(counts + in[threadIdx.x] % 3, 1);
}

__global__ void bytes_kernel(unsigned char* out, unsigned short* halves) {
  out[threadIdx.x] = static_cast<unsigned char>(threadIdx.x);
  halves[threadIdx.x] = static_cast<unsigned short>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = static_cast<unsigned char>(halves[threadIdx.x ^ 1]);
}

__global__ void votes_kernel(unsigned* out) {
  const unsigned lane = threadIdx.x % 32;
  unsigned* row = out + 12 * threadIdx.x;
  row[0] = __ballot_sync(0xffffffffu, lane % 3 == 0);
  row[1] = static_cast<unsigned>(__any_sync(0xffffffffu, lane == 5));
  row[2] = static_cast<unsigned>(__all_sync(0xffffffffu, lane < 31));
  row[3] = __reduce_add_sync(0xffffffffu, lane);
  row[4] = __reduce_max_sync(0xffffffffu, lane ^ 5);
  row[5] = static_cast<unsigned>(__reduce_min_sync(0xffffffffu, -static_cast<int>(lane)));
  row[6] = __shfl_sync(0xffffffffu, lane, 3, 8);
  row[7] = __shfl_up_sync(0xffffffffu, lane, 2, 8);
  row[8] = __shfl_down_sync(0xffffffffu, lane, 3, 16);
  row[9] = static_cast<unsigned>(__shfl_xor_sync(0xffffffffu, static_cast<double>(lane), 17));
  row[10] = lane < 12 ? __reduce_or_sync(0x00000fffu, 1u << lane) : __reduce_or_sync(0xfffff000u, 1u << lane);
  row[11] =
      static_cast<unsigned>(__syncthreads_count(threadIdx.x % 2) + 100 * __syncthreads_or(threadIdx.x == 9) +
                            1000 * __syncthreads_and(threadIdx.x != 9));
}

struct Entry {
  int offset, row, column, other;
};
__device__ Entry entry_of(int i, int n) {
  if (i >= n) return {0, -1, -1, -1};
  return {i, i / 3, i % 3, n};
}
__global__ void structs_kernel(int* out, int n) {
  SHARED(Entry, entries, [64]);
  entries[threadIdx.x] = entry_of(static_cast<int>(threadIdx.x), n);
  __syncthreads();
  const Entry other = entries[threadIdx.x ^ 1];
  out[threadIdx.x] = other.row + other.other;
}

__global__ void exits_kernel(int* out, int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  __syncthreads();
  out[threadIdx.x] = __syncthreads_count(1);
}

}  // namespace

CASE(block_sum) {
  float* out = device_memory<float>(1);
  launch(block_sum_kernel, 1, 256, 0, new_stream(), out, device_numbers<float>(1000), 1000);
  cudaDeviceSynchronize();
  expect(to_host(out, 1)[0] == 499500, "the sum");
}

CASE(product) {
  constexpr int n = 37;
  float* c = device_memory<float>(n * n);
  float *a = device_numbers<float>(n * n), *b = device_numbers<float>(n * n);
  launch(product_kernel, {3, 3}, {tile, tile}, 0, new_stream(), c, a, b, n);
  cudaDeviceSynchronize();
  const std::vector<float> result = to_host(c, n * n);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int k = 0; k < n; ++k) sum += static_cast<double>(i * n + k) * (k * n + j);
      expect(std::abs(result[static_cast<std::size_t>(i * n + j)] - sum) <= 1e-5 * sum, "the product");
    }
}

CASE(tensor_core) {
  float* c = device_memory<float>(16 * 8);
  launch(tensor_core_kernel, 1, 32, 0, new_stream(), c, device_numbers<float>(256),
         device_numbers<float>(128));
  cudaDeviceSynchronize();
  const std::vector<float> result = to_host(c, 16 * 8);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      double sum = 0;
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(i * 16 + k) * (j * 16 + k);
      expect(result[static_cast<std::size_t>(i * 8 + j)] == static_cast<float>(sum), "the product of a warp");
    }
}

CASE(transposed) {
  std::vector<unsigned short> words(256);
  for (unsigned i = 0; i < 256; ++i) words[i] = static_cast<unsigned short>(i);
  uint4* in = device_memory<uint4>(32);
  cudaMemcpy(in, words.data(), 512, cudaMemcpyHostToDevice);
  auto* out = device_memory<std::uint32_t>(128);
  launch(transposed_kernel, 1, 32, 0, new_stream(), out, in);
  cudaDeviceSynchronize();
  const std::vector<std::uint32_t> result = to_host(out, 128);
  for (unsigned t = 0; t < 4; ++t)
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned i = lane / 4, j = lane % 4 * 2;
      expect(result[t * 32 + lane] == (t * 64 + j * 8 + i) + ((t * 64 + (j + 1) * 8 + i) << 16),
             "the transpose");
    }
}

CASE(last_block) {
  float* out = device_memory<float>(64);
  launch(last_block_kernel, 5, 64, 0, new_stream(), out, device_memory<float>(5 * 64),
         device_numbers<unsigned>(1));
  cudaDeviceSynchronize();
  for (int i = 0; i < 64; ++i)
    expect(to_host(out, 64)[static_cast<std::size_t>(i)] == static_cast<float>(5 * i), "the sum");
}

CASE(histogram) {
  int* counts = device_memory<int>(3);
  cudaMemset(counts, 0, 12);
  launch(histogram_kernel, 7, 64, 0, new_stream(), counts, device_numbers<unsigned char>(64));
  cudaDeviceSynchronize();
  expect(to_host(counts, 3) == std::vector<int>{7 * 22, 7 * 21, 7 * 21}, "the counts");
}

CASE(bytes) {
  auto* out = device_memory<unsigned char>(70);
  launch(bytes_kernel, 1, 70, 0, new_stream(), out, device_memory<unsigned short>(70));
  cudaDeviceSynchronize();
  expect(to_host(out, 70)[8] == 9, "the bytes");
}

CASE(votes) {
  auto* out = device_memory<unsigned>(64 * 12);
  launch(votes_kernel, 1, 64, 0, new_stream(), out);
  cudaDeviceSynchronize();
  const std::vector<unsigned> all = to_host(out, 64 * 12);
  const std::vector<unsigned> lane_9(all.begin() + 9 * 12, all.begin() + 10 * 12);
  expect(lane_9 == std::vector<unsigned>{0x49249249u, 1, 0, 496, 31, 0xffffffe1u, 11, 9, 12, 24, 0xfffu, 132},
         "the votes");
}

CASE(structs) {
  int* out = device_memory<int>(64);
  launch(structs_kernel, 1, 64, 0, new_stream(), out, 40);
  cudaDeviceSynchronize();
  expect(to_host(out, 64)[9] == 42, "the neighbour's struct");
}

CASE(exits) {
  int* out = device_memory<int>(40);
  launch(exits_kernel, 1, 64, 0, new_stream(), out, 40);
  cudaDeviceSynchronize();
  expect(to_host(out, 40)[39] == 40, "the count of those that didn't end");
}
