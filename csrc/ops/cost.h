// The work of each kernel, from its arguments: floating-point operations by the formula (whatever the method
// saves), and bytes that must move at least, each input read once and each output written once. An elementary
// function counts as one operation. Comparisons, copies and index arithmetic count as none.
#pragma once
#include "backend.h"
#include "core/dtype.h"

namespace weft {

struct Cost {
  double flop = 0, bytes = 0;
};

// A kernel that says nothing about its work.
template <class Args>
Cost cost_of(const Args&) {
  return {};
}

inline double elements(int ndim, const std::int64_t* shape) {
  double n = 1;
  for (int i = 0; i < ndim; ++i) n *= static_cast<double>(shape[i]);
  return n;
}
inline double size(DType dtype) { return static_cast<double>(itemsize(dtype)); }
inline double number(std::int64_t n) { return static_cast<double>(n); }

inline Cost cost_of(const CopyArgs& a) {
  return {0, elements(a.ndim, a.shape) * (size(a.to) + size(a.from))};
}
inline Cost cost_of(const FillArgs& a) { return {0, elements(a.ndim, a.shape) * size(a.dtype)}; }
inline Cost cost_of(const UnaryArgs& a) {
  const double n = elements(a.ndim, a.shape);
  return {n, 2 * n * size(a.dtype)};
}
inline Cost cost_of(const BinaryArgs& a) {
  const double n = elements(a.ndim, a.shape);
  return {n, 3 * n * size(a.dtype)};
}
inline Cost cost_of(const WhereArgs& a) { return {0, elements(a.ndim, a.shape) * (3 * size(a.dtype) + 1)}; }
inline Cost cost_of(const ArangeArgs& a) { return {number(a.n), number(a.n) * size(a.dtype)}; }
inline Cost cost_of(const ActivationArgs& a) { return {number(a.n), 2 * number(a.n) * size(a.dtype)}; }
inline Cost cost_of(const ActivationBackwardArgs& a) {
  return {2 * number(a.n), 3 * number(a.n) * size(a.dtype)};
}
inline Cost cost_of(const ReduceArgs& a) {
  const double kept = elements(a.kept_ndim, a.kept_shape);
  const double all = kept * elements(a.reduced_ndim, a.reduced_shape);
  return {all, all * size(a.dtype) + kept * size(a.out_dtype)};
}
inline Cost cost_of(const GemmArgs& a) {
  const double batch = number(a.batch), m = number(a.M), n = number(a.N), k = number(a.K);
  const double read = m * k + k * n, written = m * n * (a.beta == 0 ? 1 : 2);
  return {2 * batch * m * n * k, batch * (read * size(a.dtype) + written * size(a.out_dtype))};
}

inline Cost cost_of(const LinearBackwardArgs& a) {
  const double x = number(a.M) * number(a.I), weight = number(a.O) * number(a.I),
               out = number(a.M) * number(a.O);
  const double gradients = (a.dx ? 1.0 : 0.0) + (a.dw ? 1.0 : 0.0);
  return {gradients * 2 * number(a.M) * weight + (a.db ? out : 0) + (a.y ? 2 * out : 0),
          (gradients * (x + weight) + out * (a.y ? 2 : 1)) * size(a.dtype)};
}

struct ConvSizes {
  explicit ConvSizes(const Conv2dParams& p)
      : x(number(p.N * p.C * p.H * p.W)),
        weight(number(p.K * (p.C / p.groups) * p.R * p.S)),
        out(number(p.N * p.K * p.P * p.Q)),
        flop(2 * weight * number(p.N * p.P * p.Q)) {}
  double x, weight, out;  // elements
  double flop;            // of the forward pass, and of each gradient
};
inline Cost cost_of(const Conv2dForwardArgs& a) {
  const ConvSizes s(a.p);
  return {s.flop, (s.x + s.weight + s.out) * size(a.dtype)};
}
inline Cost cost_of(const Conv2dBackwardInputArgs& a) {
  const ConvSizes s(a.p);
  return {s.flop, (s.x + s.weight + s.out) * size(a.dtype)};
}
inline Cost cost_of(const Conv2dBackwardWeightArgs& a) {
  const ConvSizes s(a.p);
  return {s.flop, (s.x + s.weight + s.out) * size(a.dtype)};
}
inline double pooled(const Conv2dParams& p, const PoolWindow& pool) {
  return number(p.N * p.K * pool.PP * pool.PQ);
}
inline Cost cost_of(const Conv2dReluMaxPool2dArgs& a) {
  const ConvSizes s(a.p);
  const double out = pooled(a.p, a.pool);
  return {s.flop, (s.x + s.weight + out) * size(a.dtype) + out};
}
inline Cost cost_of(const Conv2dReluMaxPool2dBackwardArgs& a) {
  const ConvSizes s(a.p);
  const double out = pooled(a.p, a.pool), gradients = (a.dx ? 1.0 : 0.0) + (a.dw ? 1.0 : 0.0);
  return {gradients * s.flop, (gradients * (s.x + s.weight) + out) * size(a.dtype) + out};
}

inline double input(const Pool2dParams& p) { return number(p.N * p.C * p.H * p.W); }
inline double output(const Pool2dParams& p) { return number(p.N * p.C * p.P * p.Q); }
inline Cost cost_of(const MaxPool2dArgs& a) {
  return {0, input(a.p) * size(a.dtype) + output(a.p) * (size(a.dtype) + (a.index ? 4 : 0))};
}
inline Cost cost_of(const MaxPool2dBackwardArgs& a) {
  return {output(a.p), input(a.p) * size(a.dtype) + output(a.p) * (size(a.dtype) + 4)};
}
inline Cost cost_of(const AvgPool2dArgs& a) {
  return {input(a.p), (input(a.p) + output(a.p)) * size(a.dtype)};
}
inline Cost cost_of(const LpPool2dArgs& a) {
  return {2 * input(a.p), (input(a.p) + output(a.p)) * size(a.dtype)};
}
inline Cost cost_of(const LpPool2dBackwardArgs& a) {
  return {4 * input(a.p), 2 * (input(a.p) + output(a.p)) * size(a.dtype)};
}

inline Cost cost_of(const BatchNormArgs& a) {
  const double n = number(a.N * a.C * a.L);
  return {((a.training ? 4 : 0) + 3 + (a.residual ? 1 : 0)) * n, (a.residual ? 3 : 2) * n * size(a.dtype)};
}
inline Cost cost_of(const BatchNormBackwardArgs& a) {
  const double n = number(a.N * a.C * a.L);
  const double arrays = 2 + (a.out ? 1 : 0) + (a.dx ? 1 : 0) + (a.dresidual ? 1 : 0);
  return {(4 + (a.dx ? 5 : 0)) * n, arrays * n * size(a.dtype)};
}
inline Cost cost_of(const RowNormArgs& a) {
  const double n = number(a.rows * a.channels * a.L);
  return {8 * n, 2 * n * size(a.dtype)};
}
inline Cost cost_of(const RowNormBackwardArgs& a) {
  const double n = number(a.rows * a.channels * a.L);
  return {(5 + (a.dx ? 9 : 0)) * n, (a.dx ? 3 : 2) * n * size(a.dtype)};
}
inline Cost cost_of(const SoftmaxArgs& a) {
  const double n = number(a.outer * a.n * a.inner);
  return {4 * n, 2 * n * size(a.dtype)};
}
inline Cost cost_of(const SoftmaxBackwardArgs& a) {
  const double n = number(a.outer * a.n * a.inner);
  return {4 * n, 3 * n * size(a.dtype)};
}
inline Cost cost_of(const PointwiseLossArgs& a) {
  const double n = number(a.n), out = a.reduction == Reduction::none ? n : 1;
  return {3 * n, ((a.weight ? 3 : 2) * n + out) * size(a.dtype)};
}
inline Cost cost_of(const PointwiseLossBackwardArgs& a) {
  const double n = number(a.n), gradients = (a.dinput ? 1 : 0) + (a.dtarget ? 1 : 0);
  return {3 * n, (2 + gradients) * n * size(a.dtype)};
}
inline Cost cost_of(const CrossEntropyArgs& a) {
  const double rows = number(a.N * a.inner), n = rows * number(a.C);
  const double arrays = 1 + (a.probabilities ? 1 : 0) + (a.dlogits ? 1 : 0);
  return {(a.dlogits ? 6 : 4) * n, arrays * n * size(a.dtype) + rows * 8};
}
inline Cost cost_of(const CrossEntropyBackwardArgs& a) {
  if (a.out == a.dlogits) return {};  // nothing to do where dout is 1, as for a loss
  const double n = number(a.N * a.C * a.inner);
  return {n, 2 * n * size(a.dtype)};
}

inline Cost cost_of(const IndexSelectArgs& a) {
  return {0, number(a.outer * a.count * a.inner) * 2 * size(a.dtype) + number(a.count) * 8};
}
inline Cost cost_of(const GatherArgs& a) {
  return {0, number(a.outer * a.count * a.inner) * (2 * size(a.dtype) + 8)};
}
inline Cost cost_of(const OneHotArgs& a) {
  return {0, number(a.count) * (number(a.classes) * size(a.dtype) + 8)};
}
inline Cost cost_of(const RandomArgs& a) { return {0, number(a.n) * size(a.dtype)}; }
inline Cost cost_of(const DropoutArgs& a) { return {number(a.n), number(a.n) * (2 * size(a.dtype) + 1)}; }

// The parameter and each state array are read and written, the gradient is read.
inline Cost cost_of(const SgdArgs& a) {
  return {(a.momentum_buffer ? 4 : 2) * number(a.n),
          (a.momentum_buffer ? 5 : 3) * number(a.n) * size(a.dtype)};
}
inline Cost cost_of(const AdagradArgs& a) { return {6 * number(a.n), 5 * number(a.n) * size(a.dtype)}; }
inline Cost cost_of(const RmspropArgs& a) {
  const double states = 1 + (a.grad_average ? 1 : 0) + (a.momentum_buffer ? 1 : 0);
  return {(4 + 3 * states) * number(a.n), (3 + 2 * states) * number(a.n) * size(a.dtype)};
}
inline Cost cost_of(const AdamArgs& a) { return {12 * number(a.n), 7 * number(a.n) * size(a.dtype)}; }
inline Cost cost_of(const AddSquaresArgs& a) {
  double n = 0;
  for (int i = 0; i < a.count; ++i) n += number(a.parts[i].n);
  return {2 * n, n * size(a.dtype)};
}
inline Cost cost_of(const ClipScaleArgs& a) { return {number(a.n), 2 * number(a.n) * size(a.dtype)}; }
inline Cost cost_of(const GatherImagesArgs& a) {
  const double n = number(a.count * a.C * a.plane);
  return {2 * n, 5 * n};
}
inline Cost cost_of(const WarpImagesArgs& a) {
  const double n = number(a.count * a.C * a.P * a.Q);
  return {16 * n, 4 * n + number(a.count * a.C * a.H * a.W)};
}
// fma_loop's work is not in its arguments alone: the width of the vectors counts too.

}  // namespace weft
