// AVX-512 with the dot product of bfloat16 pairs (vdpbf16ps): the kernels of AVX-512, but for the matrix
// product.
#include "cpu/gemm/bfloat16.h"
#include "cpu/kernels.h"

namespace weft::cpu::avx512bf16 {

void gemm(Stream& stream, const GemmArgs& args) {
  if (args.dtype == DType::bfloat16) return gemm_bfloat16(stream, args);
  avx512::gemm(stream, args);
}

extern const Backend table;
const Backend table = {WEFT_KERNELS(WEFT_TABLE_ENTRY)};

}  // namespace weft::cpu::avx512bf16
