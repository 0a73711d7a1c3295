// The gradients of the fully connected layer y = f(x weight^T + bias), all in one launch.
//
//   g[m,o]   = dout[m,o] f'(y[m,o])          in the arrays' dtype
//   dx[m,i]  = sum over o of g[m,o] weight[o,i]
//   dw[o,i]  = sum over m of g[m,o] x[m,i]
//   db[o]    = sum over m of g[m,o]
//
// f: none, or relu, sigmoid or tanh, whose derivative is read from y (ops/activation.h). The sums are those
// of ops/gemm.h and ops/reduce.h: float32, float64 or bfloat16, by the same contracts.
#pragma once
#include "ops/gemm.h"
#include "ops/reduce.h"

namespace weft {

class Array;

struct LinearBackwardArgs {
  DType dtype;
  std::int64_t M, I, O;  // rows, and what the layer takes and makes; M may be 0
  void* dx;              // (M, I), or null; these three contiguous
  void* dw;              // (O, I), or null
  void* db;              // (O), or null
  Matrix dout;           // (M, O); contiguous with an activation
  const void* y;         // (M, O), contiguous; null without an activation
  Matrix x;              // (M, I)
  Matrix weight;         // (O, I)
  Activation activation;
};

// dout and y (..., out), x (..., in), weight (out, in). y: what the layer made, null without an activation.
// dx, dw, db: filled where given.
void linear_backward(const Array& dout, const Array& x, const Array& weight, const Array* y,
                     Activation activation, Array* dx, Array* dw, Array* db);

// The parts as launches of their own, once dout holds g: for devices that make them one after the other.
inline ActivationBackwardArgs gradient_of_sums(const LinearBackwardArgs& a, void* g) {
  return {a.activation, a.dtype, a.M * a.O, g, a.dout.data, a.y, 0};
}
inline GemmArgs product_dx(const LinearBackwardArgs& a) {
  return {
      a.dtype,        a.dtype,          1, a.M, a.I, a.O, 1, 0, a.dout, a.weight, {a.dx, a.I, 1, 0}, nullptr,
      BiasAxis::none, Activation::none, 0};
}
inline GemmArgs product_dw(const LinearBackwardArgs& a) {
  const Matrix turned{a.dout.data, a.dout.column_stride, a.dout.row_stride, 0};
  return {a.dtype,        a.dtype,          1, a.O, a.I, a.M, 1, 0, turned, a.x, {a.dw, a.I, 1, 0}, nullptr,
          BiasAxis::none, Activation::none, 0};
}
ReduceArgs sum_db(const LinearBackwardArgs& a);

}  // namespace weft
