#include "ops/linear.h"

#include "backend.h"
#include "core/error.h"
#include "core/sizes.h"
#include "core/stream.h"
#include "ops/check.h"

namespace weft {

namespace {

constexpr const char* op = "linear_backward";

void check_operands(const Array& dout, const Array& x, const Array& weight, const Array* y,
                    Activation activation) {
  check_floating_or_bfloat16(op, "dout", dout);
  check_same_dtype(op, "dout", dout, "input", x);
  check_same_dtype(op, "dout", dout, "weight", weight);
  check_same_device(op, "dout", dout, "input", x);
  check_same_device(op, "dout", dout, "weight", weight);
  check_rank(op, "weight", weight, 2);
  check_value(x.ndim() > 0 && x.shape(-1) == weight.shape(1), op, ": weight expects in=", weight.shape(1),
              " (weight ", weight.shape(), ") but input has shape ", x.shape());
  Dims expected = x.shape();
  expected[expected.n - 1] = weight.shape(0);
  check_value(dout.shape() == expected, op, ": dout must have the shape of the output ", expected, ", got ",
              dout.shape());
  check_value(activation == Activation::none || activation == Activation::relu ||
                  activation == Activation::sigmoid || activation == Activation::tanh,
              op, ": activation must be none, relu, sigmoid or tanh, got ", name(activation));
  check_value((activation == Activation::none) == !y, op, ": an activation and its output y go together");
  if (!y) return;
  check_same_dtype(op, "dout", dout, "y", *y);
  check_same_shape(op, "dout", dout, "y", *y);
  check_same_device(op, "dout", dout, "y", *y);
}

Matrix matrix_of(const Array& x) { return {x.raw(), x.strides()[0], x.strides()[1], 0}; }

void* wanted_memory(const Array* x) { return x && x->numel() > 0 ? x->raw() : nullptr; }

}  // namespace

ReduceArgs sum_db(const LinearBackwardArgs& a) {
  ReduceArgs r{};
  r.op = ReduceOp::sum;
  r.dtype = r.out_dtype = a.dtype;
  r.kept_ndim = r.reduced_ndim = 1;
  r.kept_shape[0] = a.O;
  r.kept_strides[0] = a.O == 1 ? 0 : a.dout.column_stride;
  r.reduced_shape[0] = a.M;
  r.reduced_strides[0] = a.M == 1 ? 0 : a.dout.row_stride;
  r.out = a.db;
  r.x = a.dout.data;
  return r;
}

void linear_backward(const Array& given, const Array& given_x, const Array& weight, const Array* given_y,
                     Activation activation, Array* dx, Array* dw, Array* db) {
  check_operands(given, given_x, weight, given_y, activation);
  const std::int64_t I = weight.shape(1), O = weight.shape(0);
  std::int64_t M = 1;
  for (int i = 0; i + 1 < given_x.ndim(); ++i) M *= given_x.shape(i);
  check_work(op, {M, I, O});
  const Array x = reshape(given_x, {M, I});
  const Array flat = reshape(given, {M, O}), dout = given_y ? contiguous(flat) : flat;
  const Array y = given_y ? contiguous(reshape(*given_y, {M, O})) : Array();
  // dx last: where it has the shape of weight, that one's destination is not its own.
  if (dw) *dw = Array::empty({O, I}, given.dtype(), given.device());
  if (db) *db = Array::empty({O}, given.dtype(), given.device());
  if (dx) *dx = Array::empty({M, I}, given.dtype(), given.device());
  const LinearBackwardArgs args{given.dtype(),
                                M,
                                I,
                                O,
                                wanted_memory(dx),
                                wanted_memory(dw),
                                wanted_memory(db),
                                matrix_of(dout),
                                given_y ? y.raw() : nullptr,
                                matrix_of(x),
                                matrix_of(weight),
                                activation};
  if (args.dx || args.dw || args.db)
    current_stream(given.device())
        .submit(op, backend(given.device()).linear_backward, args,
                {dx ? dx : &dout, dw ? dw : &dout, db ? db : &dout, &dout, &y, &x, &weight});
  if (dx) *dx = reshape(*dx, given_x.shape());
}

}  // namespace weft
