// Reductions; what they are: ops/reduce.h, how they are done: reduce_kernels.h.
#include "cuda/reduce_policy.h"

namespace weft::cuda {

namespace {

// Other reductions of bfloat16 go through float32 (ops/reduce.cpp).
void reduce_bfloat16(Stream& stream, const ReduceArgs& args, const Finish& finish) {
  const bool squares = args.op == ReduceOp::sum_squares || args.op == ReduceOp::var;
  squares ? run_operation<Squares<BFloat16>>(stream, args, finish)
          : run_operation<Total<BFloat16>>(stream, args, finish);
}

}  // namespace

void reduce(Stream& stream, const ReduceArgs& args) {
  const auto terms = static_cast<double>(count_of(args.reduced_ndim, args.reduced_shape));
  const Finish finish{args.op, args.out, nullptr, terms, 1 / terms, terms - args.correction};
  switch (args.dtype) {
    case DType::float32: return reduce_float32(stream, args, finish);
    case DType::float64: return reduce_float64(stream, args, finish);
    case DType::bfloat16: return reduce_bfloat16(stream, args, finish);
    case DType::int64: return reduce_int64(stream, args, finish);
    case DType::int32: return reduce_int32(stream, args, finish);
    default: return reduce_bytes(stream, args, finish);
  }
}

}  // namespace weft::cuda
