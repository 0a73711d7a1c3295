#include "cpu/nest.h"

namespace weft::cpu::WEFT_ISA {

namespace {

constexpr std::int64_t chunk = 512;  // elements of a buffer: three of them and the data stay in the L1 cache

struct Buffer {
  alignas(64) char bytes[chunk * 8];
};

// out[i * so] = x[i * sx]
template <class T>
void move(void* out, std::int64_t so, const void* x, std::int64_t sx, std::int64_t n) {
  auto* to = static_cast<T*>(out);
  const auto* from = static_cast<const T*>(x);
  if (sx == 0) {
    const T value = *from;
    for (std::int64_t i = 0; i < n; ++i) to[i] = value;
  } else if (so == 1) {
    for (std::int64_t i = 0; i < n; ++i) to[i] = from[i * sx];
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i * so] = from[i];
  }
}

void move(int size, void* out, std::int64_t so, const void* x, std::int64_t sx, std::int64_t n) {
  if (size == 4) return move<std::uint32_t>(out, so, x, sx, n);
  if (size == 8) return move<std::uint64_t>(out, so, x, sx, n);
  if (size == 2) return move<std::uint16_t>(out, so, x, sx, n);
  move<std::uint8_t>(out, so, x, sx, n);
}

// One stretch of the inner loop. at[0] is the output's offset.
template <int Inputs>
void run_stretch(const LoopNest& nest, const std::int64_t* at, std::int64_t n) {
  const int last = nest.ndim - 1;
  const std::int64_t so = nest.out.strides[last];
  char* out = static_cast<char*>(nest.out.data) + at[0] * nest.out_size;
  const char* start[Inputs];
  const void* in[Inputs];
  std::int64_t step[Inputs];  // bytes from element to element
  bool direct = so == 1;
  for (int k = 0; k < Inputs; ++k) {
    step[k] = nest.in[k].strides[last] * nest.in_size[k];
    start[k] = static_cast<const char*>(nest.in[k].data) + at[k + 1] * nest.in_size[k];
    in[k] = start[k];
    direct &= nest.in[k].strides[last] == 1;
  }
  if (direct) return nest.loop(out, in, n, nest.parameters);
  Buffer buffer[Inputs], result;
  for (int k = 0; k < Inputs; ++k)
    if (step[k] == 0) move(nest.in_size[k], buffer[k].bytes, 1, start[k], 0, min_of(chunk, n));
  for (std::int64_t first = 0; first < n; first += chunk) {
    const std::int64_t count = min_of(chunk, n - first);
    for (int k = 0; k < Inputs; ++k) {
      const std::int64_t stride = nest.in[k].strides[last];
      const char* from = start[k] + first * step[k];
      if (stride > 1 || stride < 0) move(nest.in_size[k], buffer[k].bytes, 1, from, stride, count);
      in[k] = stride == 1 ? from : buffer[k].bytes;
    }
    char* to = out + first * so * nest.out_size;
    nest.loop(so == 1 ? to : result.bytes, in, count, nest.parameters);
    if (so != 1) move(nest.out_size, to, so, result.bytes, 1, count);
  }
}

template <int Inputs>
void run(const LoopNest& nest) {
  const Strided* operands[Inputs + 1] = {&nest.out};
  for (int k = 0; k < Inputs; ++k) operands[k + 1] = &nest.in[k];
  for_stretches<Inputs + 1>(
      nest.ndim, nest.shape, operands, nest.cost,
      [&](const std::int64_t* at, std::int64_t n) { run_stretch<Inputs>(nest, at, n); });
}

}  // namespace

void run_nest(const LoopNest& nest) {
  if (nest.inputs == 1) return run<1>(nest);
  if (nest.inputs == 2) return run<2>(nest);
  run<3>(nest);
}

}  // namespace weft::cpu::WEFT_ISA
