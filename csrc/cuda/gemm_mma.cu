// Products of bfloat16 by the tensor cores, summed in float32 (mma.m16n8k16): for operands with neighbours
// along one axis that can be copied 16 bytes, eight elements, at a time.
//
// A block computes 128 x 128 (or 64 x 64) sums, K in steps of 32 through a ring of four stages. An operand
// lies in shared memory as in memory: [m][k] where its neighbours are along K, else [k][m]; ldmatrix hands
// the 8 x 8 pieces out, transposed in the second case. Rows are 16 bytes longer than needed: eight of them,
// one after the other, lie in 32 banks. 2 x 4 warps; a warp has 64 x 32 sums, 64 in a thread, and for 16 of k
// reads 6 x 512 bytes for its 16 mma. The sums then go through shared memory, so that rows of C are written
// in whole sectors.
//
// mma.sync reaches about two thirds of what wgmma has on an H200. Shared memory: 8 warps x 12 loads of 512
// bytes a stage are 384 cycles of 128 bytes; the 256 mma of a stage take 512 cycles. Stages are 20 KB, the
// ring 80 KB, two blocks an SM.
#include "cuda/device/tile.h"
#include "cuda/gemm_parts.h"
#include "cuda/gemm_products.h"

namespace weft::cuda {

namespace {

constexpr int threads = 256, BK = 32, stages = 4, chunk = 8;  // chunk: elements of 16 bytes

// An operand's part of the stages: Rows (of m, or n) by BK.
template <int Rows, bool AlongK>
struct Pieces {
  static constexpr int pitch = AlongK ? BK + chunk : Rows + chunk, size = (AlongK ? Rows : BK) * pitch;
  static constexpr int across = (AlongK ? BK : Rows) / chunk;  // chunks of a row in memory
  static constexpr int count = Rows * BK / chunk / threads, step = threads / across;
  static_assert(count * chunk * threads == Rows * BK);

  const BFloat16* from;  // this thread's first chunk of the next stage
  std::int64_t row;      // from a row in memory to the next
  int limit;             // rows of m that exist

  __device__ __forceinline__ Pieces(const BFloat16* matrix, std::int64_t m_stride, std::int64_t k_stride,
                                    std::int64_t m, std::int64_t rows, std::int64_t k) {
    const int t = threadIdx.x, line = t / across, within = t % across * chunk;
    row = AlongK ? m_stride : k_stride;
    limit = rows - m < Rows ? static_cast<int>(rows - m) : Rows;
    from = AlongK ? matrix + (m + line) * m_stride + k + within : matrix + (k + line) * k_stride + m + within;
  }

  // Starts the copies of the next stage, of which k_left steps of K exist.
  __device__ __forceinline__ void load(BFloat16* shared, int k_left) {
    const int t = threadIdx.x, line = t / across, within = t % across * chunk;
    const BFloat16* p = from;
#pragma unroll
    for (int e = 0; e < count; ++e, p += step * row) {
      const int at = line + e * step;
      const bool valid = AlongK ? at < limit && within < k_left : at < k_left && within < limit;
      cp_async<16>(shared + at * pitch + within, p, valid);
    }
    from += AlongK ? BK : BK * row;
  }

  // The operand A's 16 x 16 piece at (m, k): in the order of the fragment, rows 0-7 and 8-15 for k 0-7, then
  // k 8-15.
  __device__ static __forceinline__ void fragment_a(std::uint32_t (&r)[4], const BFloat16* shared, int m,
                                                    int k) {
    const int lane = threadIdx.x % 32;
    if constexpr (AlongK)
      ldmatrix_x4<false>(r, shared + (m + lane % 16) * pitch + k + lane / 16 * 8);
    else
      ldmatrix_x4<true>(r, shared + (k + lane % 8 + lane / 16 * 8) * pitch + m + lane / 8 % 2 * 8);
  }
  // Two 16 x 8 pieces of B at (k, n): k 0-7 and 8-15 of the first eight columns, then of the second.
  __device__ static __forceinline__ void fragments_b(std::uint32_t (&r)[4], const BFloat16* shared, int k,
                                                     int n) {
    const int lane = threadIdx.x % 32;
    if constexpr (AlongK)
      ldmatrix_x4<false>(r, shared + (n + lane % 8 + lane / 16 * 8) * pitch + k + lane / 8 % 2 * 8);
    else
      ldmatrix_x4<true>(r, shared + (k + lane % 16) * pitch + n + lane / 16 * 8);
  }
};

template <int Size, bool A, bool B>
struct Block {
  static constexpr int warps_m = 2, warps_n = 4, warp_m = Size / warps_m, warp_n = Size / warps_n;
  static constexpr int MF = warp_m / 16, NF = warp_n / 8;  // fragments of a warp
  using OfA = Pieces<Size, A>;
  using OfB = Pieces<Size, B>;
  static constexpr int stage = OfA::size + OfB::size, pitch_c = Size + 4;
  static constexpr std::size_t ring = sizeof(BFloat16) * stages * stage,
                               sums = sizeof(float) * Size * pitch_c;
  static constexpr std::size_t shared_bytes = ring > sums ? ring : sums;
};

struct MmaGrid {
  unsigned tiles_m, tiles_n, parts;
  int steps;           // stages of a part
  std::int64_t first;  // problem
  bool vectors;        // rows of C can be written four elements at a time; no activation but relu
};

// acc += the products of one stage; the warp's sums begin at (m, n) of the tile.
template <class Block>
__device__ __forceinline__ void multiply_fragments(float (&acc)[Block::MF][Block::NF][4],
                                                   const BFloat16* stage, int m, int n) {
#pragma unroll
  for (int k = 0; k < BK; k += 16) {
    std::uint32_t a[Block::MF][4], b[Block::NF / 2][4];
#pragma unroll
    for (int i = 0; i < Block::MF; ++i) Block::OfA::fragment_a(a[i], stage, m + 16 * i, k);
#pragma unroll
    for (int j = 0; j < Block::NF / 2; ++j)
      Block::OfB::fragments_b(b[j], stage + Block::OfA::size, k, n + 16 * j);
#pragma unroll
    for (int i = 0; i < Block::MF; ++i)
#pragma unroll
      for (int j = 0; j < Block::NF; ++j) {
        const std::uint32_t of_b[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        mma_bf16(acc[i][j], a[i], of_b);
      }
  }
}

// From the registers to shared memory, as [m][n].
template <class Block>
__device__ __forceinline__ void put_sums(float* shared, const float (&acc)[Block::MF][Block::NF][4], int m,
                                         int n) {
  const int lane = threadIdx.x % 32;
  float* const to = shared + (m + lane / 4) * Block::pitch_c + n + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < Block::MF; ++i)
#pragma unroll
    for (int j = 0; j < Block::NF; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const Pack<float, 2> two{{acc[i][j][2 * half], acc[i][j][2 * half + 1]}};
        store_pack(to + (16 * i + 8 * half) * Block::pitch_c + 8 * j, two);
      }
}

// C's tile at (m, n) from its sums in shared memory.
template <int Size, int Pitch, class P>
__device__ __forceinline__ void finish_tile(const P& p, typename P::Out* c, const float* sums, std::int64_t m,
                                            std::int64_t n, bool vectors) {
  using Out = typename P::Out;
  const int rows = static_cast<int>(p.M - m < Size ? p.M - m : Size);
  const int columns = static_cast<int>(p.N - n < Size ? p.N - n : Size);
  if (vectors) {
    const bool relu = p.activation == Activation::relu;
    for (int e = threadIdx.x * 4; e < rows * Size; e += threads * 4) {
      const int i = e / Size, j = e % Size;
      if (j >= columns) continue;
      Out* const to = c + (m + i) * p.c_row + n + j;
      const Pack<float, 4> sum = load_pack<float, 4>(sums + i * Pitch + j);
      Pack<Out, 4> pack;
      if (p.beta != 0) pack = load_pack<Out, 4>(to);
#pragma unroll
      for (int l = 0; l < 4; ++l) {
        const float value = before_activation(p, sum.v[l], &pack.v[l], m + i, n + j + l);
        pack.v[l] = static_cast<Out>(relu && value <= 0 ? 0.0f : value);
      }
      store_pack(to, pack);
    }
    return;
  }
  for (int e = threadIdx.x; e < rows * Size; e += threads) {
    const int i = e / Size, j = e % Size;
    if (j >= columns) continue;
    Out* const to = c + (m + i) * p.c_row + (n + j) * p.c_column;
    const float value = before_activation(p, sums[i * Pitch + j], to, m + i, n + j);
    *to = static_cast<Out>(activate(p.activation, value, p.activation_alpha));
  }
}

template <int Size, bool A, bool B, class P>
__global__ void __launch_bounds__(threads, 2) mma_kernel(P p, MmaGrid grid) {
  using Shape = Block<Size, A, B>;
  DYNAMIC_SHARED(unsigned char, shared);
  auto* const ring = reinterpret_cast<BFloat16*>(shared);
  const unsigned tiles = grid.tiles_m * grid.tiles_n, part = blockIdx.x / tiles % grid.parts;
  const TileIndex tile = tile_index(blockIdx.x % tiles, grid.tiles_m, grid.tiles_n);
  const std::int64_t item = grid.first + blockIdx.x / tiles / grid.parts;
  const std::int64_t m = std::int64_t{tile.m} * Size, n = std::int64_t{tile.n} * Size;
  const std::int64_t k = std::int64_t{part} * grid.steps * BK, k_left = p.K - k;
  const std::int64_t steps_left = (k_left + BK - 1) / BK;
  const int warp = threadIdx.x / 32, warp_m = warp % 2 * Shape::warp_m, warp_n = warp / 2 * Shape::warp_n;

  typename Shape::OfA a(p.a + item * p.a_batch, p.a_row, p.a_column, m, p.M, k);
  typename Shape::OfB b(p.b + item * p.b_batch, p.b_column, p.b_row, n, p.N, k);
  float acc[Shape::MF][Shape::NF][4] = {};
  for_each_stage<stages>(
      steps_left < grid.steps ? static_cast<int>(steps_left) : grid.steps,
      [&](int place, int step) {
        const std::int64_t left = k_left - std::int64_t{step} * BK;
        const int some = left < BK ? static_cast<int>(left) : BK;
        a.load(ring + place * Shape::stage, some);
        b.load(ring + place * Shape::stage + Shape::OfA::size, some);
      },
      [&](int place) { multiply_fragments<Shape>(acc, ring + place * Shape::stage, warp_m, warp_n); });

  auto* const sums = reinterpret_cast<float*>(shared);
  put_sums<Shape>(sums, acc, warp_m, warp_n);
  __syncthreads();
  typename P::Out* const c = p.c + (part * p.batch + item) * p.c_batch;
  finish_tile<Size, Shape::pitch_c>(p, c, sums, m, n, grid.vectors);
}

template <int Size, bool A, bool B, class P>
void launch_mma(Stream& stream, const P& p, int parts) {
  MmaGrid grid{};
  grid.tiles_m = static_cast<unsigned>(ceil_div(p.M, Size));
  grid.tiles_n = static_cast<unsigned>(ceil_div(p.N, Size));
  grid.parts = static_cast<unsigned>(parts);
  grid.steps = static_cast<int>(ceil_div(ceil_div(p.K, BK), parts));
  grid.vectors = (p.activation == Activation::none || p.activation == Activation::relu) && p.c_column == 1 &&
                 p.N % 4 == 0 && p.c_row % 4 == 0 && p.c_batch % 4 == 0 && aligned(p.c, 4 * sizeof(*p.c));
  const auto kernel = &mma_kernel<Size, A, B, P>;
  constexpr std::size_t bytes = Block<Size, A, B>::shared_bytes;
  allow_shared(kernel, bytes);
  for_each_launch(std::int64_t{grid.tiles_m} * grid.tiles_n * parts, p.batch,
                  [&](std::int64_t first, unsigned blocks) {
                    grid.first = first;
                    launch(kernel, dim3(blocks), dim3(threads), bytes, handle(stream), p, grid);
                  });
}

template <int Size, class P>
void launch_mma_of(Stream& stream, const P& p, int parts, bool a_along_k, bool b_along_k) {
  if (a_along_k)
    b_along_k ? launch_mma<Size, true, true>(stream, p, parts)
              : launch_mma<Size, true, false>(stream, p, parts);
  else
    b_along_k ? launch_mma<Size, false, true>(stream, p, parts)
              : launch_mma<Size, false, false>(stream, p, parts);
}

// mma.sync: 330 T multiply-adds a second on 132 SMs at 1.75 GHz.
constexpr double multiply_adds = 1430;
constexpr TileShape tiles[] = {{128, 128, BK, threads / 32, 2, 0.7}, {64, 64, BK, threads / 32, 2, 0.4}};

}  // namespace

template <class Out>
bool multiply_by_mma(Stream& stream, const Product<BFloat16, Out>& p) {
  const bool a_k = in_vectors(p.a, p.K, p.a_column, p.a_row, p.a_batch);
  const bool b_k = in_vectors(p.b, p.K, p.b_row, p.b_column, p.b_batch);
  if (!a_k && !in_vectors(p.a, p.M, p.a_row, p.a_column, p.a_batch)) return false;
  if (!b_k && !in_vectors(p.b, p.N, p.b_column, p.b_row, p.b_batch)) return false;
  const TilePlan plan = plan_product(stream, p, multiply_adds, tiles, 2);
  multiply_in_parts(stream, p, plan.parts, [&](const auto& q, int parts) {
    plan.tile == 0 ? launch_mma_of<128>(stream, q, parts, a_k, b_k)
                   : launch_mma_of<64>(stream, q, parts, a_k, b_k);
  });
  return true;
}
template bool multiply_by_mma(Stream&, const Product<BFloat16, BFloat16>&);
template bool multiply_by_mma(Stream&, const Product<BFloat16, float>&);

}  // namespace weft::cuda
