// Walking through strided loop nests, cut into pieces for threads; dimension ndim-1 is the inner loop.
#pragma once
#include "cpu/parallel.h"
#include "ops/elementwise.h"

namespace weft::cpu::WEFT_ISA {

[[gnu::always_inline]] inline int size_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
    case DType::int32: return 4;
    case DType::float64:
    case DType::int64: return 8;
    case DType::bfloat16: return 2;
    default: return 1;
  }
}

// A place in a nest of dimensions, with the offset of each of `Count` operands there.
template <int Count>
struct Place {
  int ndim;
  const std::int64_t* shape;
  const std::int64_t* strides[Count];
  std::int64_t index[max_rank];
  std::int64_t offset[Count];

  // To the element with this number, in row-major order.
  [[gnu::always_inline]] void seek(std::int64_t number) {
    for (int k = 0; k < Count; ++k) offset[k] = 0;
    for (int axis = ndim - 1; axis >= 0; --axis) {
      index[axis] = number % shape[axis];
      number /= shape[axis];
      for (int k = 0; k < Count; ++k) offset[k] += index[axis] * strides[k][axis];
    }
  }
  // To the next element; from the last one to the first.
  [[gnu::always_inline]] void next() {
    for (int axis = ndim - 1; axis >= 0; --axis) {
      for (int k = 0; k < Count; ++k) offset[k] += strides[k][axis];
      if (++index[axis] < shape[axis]) return;
      for (int k = 0; k < Count; ++k) offset[k] -= shape[axis] * strides[k][axis];
      index[axis] = 0;
    }
  }
};

[[gnu::always_inline]] inline std::int64_t count_of(int ndim, const std::int64_t* shape) {
  std::int64_t n = 1;
  for (int i = 0; i < ndim; ++i) n *= shape[i];
  return n;
}

// f(offsets, length) for every stretch of the inner loop, long ones cut, spread over threads. `cost` is the
// work of an element.
template <int Count, class F>
inline void for_stretches(int ndim, const std::int64_t* shape, const Strided* const (&operands)[Count],
                          std::int64_t cost, F&& f) {
  constexpr std::int64_t grain = 16384;
  const int outer_ndim = ndim - 1;
  const std::int64_t n = shape[outer_ndim], outer = count_of(outer_ndim, shape);
  const std::int64_t cuts = ceil_div(n, grain);
  const std::int64_t together = max_of<std::int64_t>(1, grain / max_of<std::int64_t>(n, 1));
  parallel_ranges(outer * cuts, together, outer * n * cost, [&](std::int64_t begin, std::int64_t end) {
    Place<Count> place;
    place.ndim = outer_ndim;
    place.shape = shape;
    for (int k = 0; k < Count; ++k) place.strides[k] = operands[k]->strides;
    place.seek(begin / cuts);
    std::int64_t first = begin % cuts * grain;
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t offset[Count];
      for (int k = 0; k < Count; ++k) offset[k] = place.offset[k] + first * operands[k]->strides[outer_ndim];
      f(offset, min_of(grain, n - first));
      first += grain;
      if (first < n) continue;
      first = 0;
      place.next();
    }
  });
}

// out[i] = f(in[0][i], ...) for i < n, all contiguous. An operand may be the output itself.
using Loop = void (*)(void* out, const void* const* in, std::int64_t n, const double* parameters);

constexpr int max_inputs = 3;

struct LoopNest {
  Loop loop;
  int ndim;
  const std::int64_t* shape;
  Strided out;
  int out_size;  // bytes of an element
  int inputs;
  Strided in[max_inputs];
  int in_size[max_inputs];
  double parameters[2];
  std::int64_t cost;  // of an element
};

// Runs a loop over operands of any strides: what is not contiguous goes through a small buffer, so that there
// is one loop for each operation and type.
void run_nest(const LoopNest& nest);

}  // namespace weft::cpu::WEFT_ISA
