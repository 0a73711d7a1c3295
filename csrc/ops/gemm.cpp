#include "ops/gemm.h"

#include "backend.h"
#include "core/error.h"
#include "core/sizes.h"
#include "core/stream.h"
#include "ops/check.h"

namespace weft {

namespace {

// A matrix with an optional batch axis, as a kernel sees it.
Matrix matrix_of(const Array& x) {
  const int n = x.ndim();
  const std::int64_t batch_stride = n == 3 && x.shape(0) > 1 ? x.strides()[0] : 0;
  return {x.raw(), x.strides()[n - 2], x.strides()[n - 1], batch_stride};
}

void run(const GemmArgs& args, std::initializer_list<const Array*> arrays) {
  const Array& out = **arrays.begin();
  check_work("gemm", {args.batch, args.M, args.N, args.K});
  if (out.numel() > 0) current_stream(out.device()).submit("gemm", backend(out.device()).gemm, args, arrays);
}

void check_operands(const char* op, const char* what_a, const Array& a, const char* what_b, const Array& b) {
  check_floating_or_bfloat16(op, what_a, a);
  check_same_dtype(op, what_a, a, what_b, b);
  check_same_device(op, what_a, a, what_b, b);
}

// The bias as a contiguous vector of `size`.
Array checked_bias(const char* op, const Array& bias, const Array& like, std::int64_t size,
                   const char* letter) {
  check_same_dtype(op, "bias", bias, "input", like);
  check_same_device(op, "bias", bias, "input", like);
  check_value(bias.ndim() == 1 && bias.shape(0) == size, op, ": bias must have shape (", letter, ",) = (",
              size, ",), got ", bias.shape());
  return contiguous(bias);
}

// The leading axes of x, expanded to `batch` and joined into one.
Array joined_batch(const Array& x, const Dims& batch) {
  Dims expanded = batch;
  expanded.push_back(x.shape(-2));
  expanded.push_back(x.shape(-1));
  return reshape(x.expand(expanded), {product(batch), x.shape(-2), x.shape(-1)});
}

Dims leading(const Array& x) {
  Dims dims = x.shape();
  dims.n -= 2;
  return dims;
}

Array batched_matmul(const Array& a, const Array& b) {
  const std::int64_t M = a.shape(-2), K = a.shape(-1), N = b.shape(-1);
  const Dims batch = broadcast_shapes("matmul", leading(a), leading(b));
  Dims shape = batch;
  shape.push_back(M);
  shape.push_back(N);
  const Array out = Array::empty(shape, a.dtype(), a.device());
  // Without batch axes in b the rows of all of a's matrices make one tall matrix.
  if (b.ndim() == 2 && a.is_contiguous()) {
    const Array tall = reshape(a, {product(batch) * M, K});
    const Matrix c{out.raw(), N, 1, 0};
    run({a.dtype(), a.dtype(), 1, product(batch) * M, N, K, 1, 0, matrix_of(tall), matrix_of(b), c, nullptr,
         BiasAxis::none, Activation::none, 0},
        {&out, &tall, &b});
    return out;
  }
  const Array x = joined_batch(a, batch), y = joined_batch(b, batch);
  const Matrix c{out.raw(), N, 1, M * N};
  run({a.dtype(), a.dtype(), product(batch), M, N, K, 1, 0, matrix_of(x), matrix_of(y), c, nullptr,
       BiasAxis::none, Activation::none, 0},
      {&out, &x, &y});
  return out;
}

}  // namespace

Array matmul(const Array& given_a, const Array& given_b) {
  check_operands("matmul", "the first operand", given_a, "the second", given_b);
  check_value(given_a.ndim() > 0 && given_b.ndim() > 0, "matmul: operands must have rank 1 at least, got ",
              given_a.shape(), " and ", given_b.shape());
  const Array a = given_a.ndim() == 1 ? given_a.unsqueeze(0) : given_a;
  const Array b = given_b.ndim() == 1 ? given_b.unsqueeze(1) : given_b;
  check_value(a.shape(-1) == b.shape(-2), "matmul: the first operand has K=", a.shape(-1), " (",
              given_a.shape(), ") but the second has K=", b.shape(-2), " (", given_b.shape(), ")");
  Array out = batched_matmul(a, b);
  if (given_b.ndim() == 1) out = out.squeeze(-1);
  if (given_a.ndim() == 1) out = out.squeeze(given_b.ndim() == 1 ? -1 : -2);
  return out;
}

Array gemm(const Array& given_a, const Array& given_b, const Array* given_c, double alpha, double beta,
           bool transpose_a, bool transpose_b, const Array* bias, Activation activation,
           double activation_alpha, std::optional<DType> out_dtype) {
  check_operands("gemm", "a", given_a, "b", given_b);
  const int rank = given_a.ndim();
  check_value((rank == 2 || rank == 3) && given_b.ndim() == rank,
              "gemm: a and b must both have rank 2 or 3, got ", given_a.shape(), " and ", given_b.shape());
  const Array a = transpose_a ? given_a.transpose(-1, -2) : given_a;
  const Array b = transpose_b ? given_b.transpose(-1, -2) : given_b;
  check_value(a.shape(-1) == b.shape(-2), "gemm: op(a) has K=", a.shape(-1), " (a ", given_a.shape(),
              ") but op(b) has K=", b.shape(-2), " (b ", given_b.shape(), ")");
  check_value(rank == 2 || a.shape(0) == b.shape(0), "gemm: a ", given_a.shape(), " and b ", given_b.shape(),
              " must have the same batch size");
  Dims shape = a.shape();
  shape[rank - 1] = b.shape(-1);
  const DType of_c = out_dtype.value_or(a.dtype());
  check_type(of_c == a.dtype() || (a.dtype() == DType::bfloat16 && of_c == DType::float32), "gemm: a ",
             name(a.dtype()), " product cannot be ", name(of_c));
  const Array out = Array::empty(shape, of_c, a.device());
  if (given_c) {
    check_same_dtype("gemm", "the result", out, "c", *given_c);
    check_same_device("gemm", "a", a, "c", *given_c);
    check_value(broadcast_shapes("gemm", given_c->shape(), shape) == shape, "gemm: c ", given_c->shape(),
                " does not broadcast to the result ", shape);
    copy_into(out, *given_c);
  }
  const std::int64_t N = b.shape(-1);
  const Array row = bias ? checked_bias("gemm", *bias, a, N, "N") : Array();
  const GemmArgs args{a.dtype(),
                      of_c,
                      rank == 3 ? a.shape(0) : 1,
                      a.shape(-2),
                      N,
                      a.shape(-1),
                      alpha,
                      given_c ? beta : 0,
                      matrix_of(a),
                      matrix_of(b),
                      matrix_of(out),
                      bias ? row.raw() : nullptr,
                      bias ? BiasAxis::column : BiasAxis::none,
                      activation,
                      activation_alpha};
  run(args, {&out, &a, &b, &row});
  return out;
}

Array linear(const Array& x, const Array& weight, const Array* bias, Activation activation) {
  check_operands("linear", "input", x, "weight", weight);
  check_rank("linear", "weight", weight, 2);
  check_value(x.ndim() > 0, "linear: input must have rank 1 at least, got ", x.shape());
  check_value(x.shape(-1) == weight.shape(1), "linear: weight expects in=", weight.shape(1), " (weight ",
              weight.shape(), ") but input has in=", x.shape(-1), " (input ", x.shape(), ")");
  const std::int64_t K = x.shape(-1), N = weight.shape(0);
  std::int64_t M = 1;
  for (int i = 0; i + 1 < x.ndim(); ++i) M *= x.shape(i);
  const Array rows = reshape(x, {M, K});
  const Array row = bias ? checked_bias("linear", *bias, x, N, "out") : Array();
  Dims shape = x.shape();
  shape[shape.n - 1] = N;
  const Array out = Array::empty(shape, x.dtype(), x.device());
  const Matrix turned{weight.raw(), weight.strides()[1], weight.strides()[0], 0};
  run({x.dtype(),
       x.dtype(),
       1,
       M,
       N,
       K,
       1,
       0,
       matrix_of(rows),
       turned,
       {out.raw(), N, 1, 0},
       bias ? row.raw() : nullptr,
       bias ? BiasAxis::column : BiasAxis::none,
       activation,
       0},
      {&out, &rows, &weight, &row});
  return out;
}

}  // namespace weft
