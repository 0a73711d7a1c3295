#include "ops/random.h"

#include <cmath>
#include <limits>

#include "backend.h"
#include "core/error.h"
#include "core/generator.h"
#include "core/philox.h"
#include "core/stream.h"
#include "ops/check.h"
#include "ops/elementwise.h"

namespace weft {

namespace {

constexpr const char* names[] = {WEFT_RANDOM_KINDS(WEFT_ENUM_NAME)};

// Whole numbers a <= i < b that the dtype holds exactly.
void check_range(const Array& out, double a, double b) {
  constexpr double whole = 9007199254740992.0;  // 2^53
  double low = -whole, high = whole;
  switch (out.dtype()) {
    case DType::float32: low = -16777216.0, high = 16777217.0; break;
    case DType::int32: low = -2147483648.0, high = 2147483648.0; break;
    case DType::uint8: low = 0, high = 256; break;
    case DType::bool_: low = 0, high = 2; break;
    default: break;
  }
  check_value(a < b, "randint: low must be below high, got ", a, " and ", b);
  check_value(a >= low && b <= high, "randint: ", name(out.dtype()), " does not hold all integers from ", a,
              " to ", b);
  check_value(b - a <= 4294967296.0, "randint: high - low must be at most 2^32, got ", b - a);
}

void check_arguments(RandomKind kind, const Array& out, double a, double b) {
  const char* op = names[static_cast<int>(kind)];
  if (kind == RandomKind::uniform || kind == RandomKind::normal) check_floating(op, "out", out);
  refuse_bfloat16(op, "out", out);
  const double most =
      out.dtype() == DType::float32 ? std::numeric_limits<float>::max() : std::numeric_limits<double>::max();
  switch (kind) {
    case RandomKind::uniform:
      check_value(a <= b && b - a <= most && std::abs(a) <= most && std::abs(b) <= most,
                  "uniform: low must be at most high, both finite, got ", a, " and ", b);
      break;
    case RandomKind::normal:
      check_value(std::abs(a) <= most && b >= 0 && b <= most,
                  "normal: mean must be finite and std finite and not negative, got ", a, " and ", b);
      break;
    case RandomKind::bernoulli:
      check_value(a >= 0 && a <= 1, "bernoulli: p must be from 0 to 1, got ", a);
      break;
    case RandomKind::randint: check_range(out, a, b); break;
  }
}

void check_generator(const char* op, const char* what, const Array& x, const Generator& generator) {
  check_state(x.device() == generator.device(), op, ": ", what, " is on ", x.device(),
              " but the generator is on ", generator.device());
}

void check_probability(const char* op, double p) {
  check_value(p >= 0 && p <= 1, op, ": p must be from 0 to 1, got ", p);
}

struct PermutationArgs {
  std::int64_t n;
  std::int64_t* out;
  std::uint64_t* state;
};

// Each swap needs the one before: it runs on the host.
void write_permutation(Stream&, const PermutationArgs& args) {
  for (std::int64_t i = 0; i < args.n; ++i) args.out[i] = i;
  Words4 words{};
  for (std::int64_t i = args.n - 1, drawn = 0; i > 0; --i, ++drawn) {
    if (drawn % 4 == 0) words = philox4x32_10(args.state[0], args.state[1]++);
    const std::uint64_t bound = static_cast<std::uint64_t>(i) + 1;
    const auto j = static_cast<std::int64_t>((words.v[drawn % 4] * bound) >> 32);
    const std::int64_t swapped = args.out[i];
    args.out[i] = args.out[j];
    args.out[j] = swapped;
  }
}

}  // namespace

void random_fill(RandomKind kind, const Array& given, double a, double b, Generator& generator) {
  check_arguments(kind, given, a, b);
  check_generator(names[static_cast<int>(kind)], "out", given, generator);
  check_writable(names[static_cast<int>(kind)], given);
  if (given.numel() == 0) return;
  const bool direct = given.is_contiguous();
  const Array out = direct ? given : Array::empty(given.shape(), given.dtype(), given.device());
  const auto held = generator.hold();
  const Array& state = generator.state();
  const RandomArgs args{kind, out.dtype(), out.numel(), out.raw(), state.data<std::int64_t>(), a, b};
  current_stream(out.device()).submit("random_fill", backend(out.device()).random_fill, args, {&out, &state});
  if (!direct) copy_into(given, out);
}

Array randperm(std::int64_t n, Generator& generator) {
  check_value(n >= 0 && n <= std::int64_t{4294967296}, "randperm: n must be from 0 to 2^32, got ", n);
  check_state(generator.device() == Device{}, "randperm: the generator must be on the cpu, not on ",
              generator.device());
  const Array out = Array::empty({n}, DType::int64);
  const auto held = generator.hold();
  const Array& state = generator.state();
  const PermutationArgs args{n, out.data<std::int64_t>(), state.data<std::uint64_t>()};
  if (n > 0) current_stream(out.device()).submit("randperm", &write_permutation, args, {&out, &state});
  return out;
}

Array dropout(const Array& given, double p, Generator& generator, Array& mask) {
  check_floating("dropout", "input", given);
  check_probability("dropout", p);
  check_generator("dropout", "input", given, generator);
  const Array x = contiguous(given);
  const Array out = Array::empty(x.shape(), x.dtype(), x.device());
  mask = Array::empty(x.shape(), DType::uint8, x.device());
  const auto held = generator.hold();
  const Array& state = generator.state();
  const DropoutArgs args{
      x.dtype(), x.numel(), out.raw(), mask.data<std::uint8_t>(), x.raw(), state.data<std::int64_t>(), p};
  if (x.numel() > 0)
    current_stream(x.device())
        .submit("dropout", backend(x.device()).dropout, args, {&out, &mask, &x, &state});
  return contiguous(out, given.memory_format());
}

Array dropout_backward(const Array& given_dout, const Array& given_mask, double p) {
  const char* op = "dropout_backward";
  check_floating(op, "dout", given_dout);
  check_type(given_mask.dtype() == DType::uint8, op, ": mask must be uint8, got ", name(given_mask.dtype()));
  check_same_shape(op, "dout", given_dout, "mask", given_mask);
  check_same_device(op, "dout", given_dout, "mask", given_mask);
  check_probability(op, p);
  const Array dout = contiguous(given_dout), mask = contiguous(given_mask);
  const Array dx = Array::empty(dout.shape(), dout.dtype(), dout.device());
  const DropoutArgs args{dout.dtype(), dout.numel(), dx.raw(), mask.data<std::uint8_t>(),
                         dout.raw(),   nullptr,      p};
  if (dx.numel() > 0)
    current_stream(dx.device()).submit("dropout", backend(dx.device()).dropout, args, {&dx, &mask, &dout});
  return contiguous(dx, given_dout.memory_format());
}

}  // namespace weft
