// The methods of the matrix product; gemm.cu chooses one.
#pragma once
#include "cuda/gemm_problem.h"

namespace weft::cuda {

// Tiles in shared memory, any strides: gemm_float32.cu, gemm_float64.cu, gemm_bfloat16.cu.
void multiply_tiled(Stream& stream, const Product<float, float>& p);
void multiply_tiled(Stream& stream, const Product<double, double>& p);
template <class Out>
void multiply_tiled(Stream& stream, const Product<BFloat16, Out>& p);

// The tensor cores, for bfloat16 in vectors: false where they don't take the problem; gemm_mma.cu.
template <class Out>
bool multiply_by_mma(Stream& stream, const Product<BFloat16, Out>& p);

// Up to most_thin rows and any strides, at the memory's speed; gemm_thin.cu.
constexpr int most_thin = 8;
template <class In, class Out>
void multiply_thin(Stream& stream, const Product<In, Out>& p);

}  // namespace weft::cuda
