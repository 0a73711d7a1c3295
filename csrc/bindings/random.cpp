#include "ops/random.h"

#include "bindings/bindings.h"
#include "core/error.h"
#include "core/generator.h"

namespace weft {

namespace {

// Seeds and offsets are 64 bits; negative ones count from 2^64, as in torch.
std::uint64_t to_word(const py::int_& value) {
  const auto word = PyLong_AsUnsignedLongLongMask(value.ptr());
  const bool fits = py::int_(word).equal(value) || py::int_(static_cast<std::int64_t>(word)).equal(value);
  check_value(fits, "manual_seed: the seed must lie between -2^63 and 2^64 - 1");
  return word;
}

Generator& chosen(Generator* generator, Device device) {
  return generator ? *generator : default_generator(device);
}

using State = std::pair<std::uint64_t, std::uint64_t>;

void bind_generator(py::module_& m) {
  py::class_<Generator> generator(
      m, "Generator",
      "A stream of random numbers (Philox4x32-10): a seed, and an offset that counts the "
      "blocks of four 32-bit words used so far.");
  constructed_only(generator);
  generator
      .def(py::init([](const py::int_& seed, std::optional<Device> device) {
             return std::make_unique<Generator>(to_word(seed), device.value_or(Device{}));
           }),
           py::arg("seed") = 0, py::arg("device") = py::none(),
           "seed: an int from -2^63 to 2^64 - 1. ValueError for another one. device: whose arrays it fills, "
           "by "
           "default the cpu's; the numbers are the same on each.")
      .def(
          "manual_seed",
          [](Generator& g, const py::int_& seed) -> Generator& {
            g.manual_seed(to_word(seed));
            return g;
          },
          py::arg("seed"), "Starts the stream of a seed; returns the generator.")
      .def_property_readonly(
          "device", [](const Generator& g) { return g.device(); }, "Whose arrays it fills.")
      .def_property_readonly(
          "seed", [](const Generator& g) { return g.seed(); }, "The seed.")
      .def_property_readonly(
          "offset", [](const Generator& g) { return g.offset(); }, "How many blocks of four words were used.")
      .def(
          "get_state", [](const Generator& g) { return State(g.seed(), g.offset()); }, "(seed, offset).")
      .def(
          "set_state", [](Generator& g, const State& s) { g.set_state(s.first, s.second); }, py::arg("state"),
          "Goes to a state that get_state gave.");
  m.def(
      "default_generator",
      [](std::optional<Device> device) -> Generator& {
        return default_generator(device.value_or(default_device()));
      },
      py::arg("device") = py::none(), py::return_value_policy::reference,
      "The generator that functions use where none is given: one for each device.");
  m.def(
      "manual_seed",
      [](const py::int_& seed) -> Generator& {
        seed_all(to_word(seed));
        return default_generator(default_device());
      },
      py::arg("seed"), py::return_value_policy::reference,
      "Starts the stream of a seed in the default generators of all devices; returns that of the default "
      "device.");
}

Array drawn(RandomKind kind, const Dims& shape, DType dtype, double a, double b, Generator* generator,
            const DeviceChoice& device) {
  const Device on = device ? *device : generator ? generator->device() : default_device();
  const Array out = Array::empty(shape, dtype, on);
  random_fill(kind, out, a, b, chosen(generator, out.device()));
  return out;
}

void bind_draws(py::module_& m) {
  m.def(
      "uniform",
      [](const DimsLike& shape, double low, double high, DTypeLike dtype, Generator* generator,
         DeviceChoice device) {
        return drawn(RandomKind::uniform, shape, dtype, low, high, generator, device);
      },
      py::arg("shape"), py::arg("low") = 0.0, py::arg("high") = 1.0, py::arg("dtype") = "float32",
      py::arg("generator") = py::none(), py::arg("device") = py::none(), ReleaseGil(),
      "Numbers drawn evenly from [low, high): 24 random bits in float32, 32 in float64.\n\n"
      "ValueError unless low <= high, both finite; TypeError for a dtype other than float32 and float64.");
  m.def(
      "normal",
      [](const DimsLike& shape, double mean, double std, DTypeLike dtype, Generator* generator,
         DeviceChoice device) {
        return drawn(RandomKind::normal, shape, dtype, mean, std, generator, device);
      },
      py::arg("shape"), py::arg("mean") = 0.0, py::arg("std") = 1.0, py::arg("dtype") = "float32",
      py::arg("generator") = py::none(), py::arg("device") = py::none(), ReleaseGil(),
      "Numbers of the normal distribution (Box, Muller 1958).\n\n"
      "ValueError for a negative std; TypeError for a dtype other than float32 and float64.");
  m.def(
      "bernoulli",
      [](const DimsLike& shape, double p, DTypeLike dtype, Generator* generator, DeviceChoice device) {
        return drawn(RandomKind::bernoulli, shape, dtype, p, 0, generator, device);
      },
      py::arg("shape"), py::arg("p"), py::arg("dtype") = "float32", py::arg("generator") = py::none(),
      py::arg("device") = py::none(), ReleaseGil(),
      "1 with probability p, else 0. ValueError unless 0 <= p <= 1.");
  m.def(
      "randint",
      [](const DimsLike& shape, std::int64_t low, std::int64_t high, DTypeLike dtype, Generator* generator,
         DeviceChoice device) {
        return drawn(RandomKind::randint, shape, dtype, static_cast<double>(low), static_cast<double>(high),
                     generator, device);
      },
      py::arg("shape"), py::arg("low"), py::arg("high"), py::arg("dtype") = "int64",
      py::arg("generator") = py::none(), py::arg("device") = py::none(), ReleaseGil(),
      "Integers drawn evenly from low <= i < high.\n\n"
      "ValueError unless low < high <= low + 2^32 and the dtype holds them all.");
  m.def(
      "randperm", [](std::int64_t n, Generator* generator) { return randperm(n, chosen(generator, {})); },
      py::arg("n"), py::arg("generator") = py::none(), ReleaseGil(),
      "A random order of 0 .. n-1 (Fisher, Yates), int64. ValueError for a negative n.");
}

void bind_fill(py::module_& m, const char* name, RandomKind kind, const char* a, const char* b,
               const char* doc) {
  m.def(
      name,
      [kind](const Output& out, double first, double second, Generator* generator) {
        random_fill(kind, out, first, second, chosen(generator, out->device()));
      },
      py::arg("out"), py::arg(a), py::arg(b), py::arg("generator") = py::none(), ReleaseGil(), doc);
}

}  // namespace

void bind_random(py::module_& m) {
  bind_generator(m);
  bind_draws(m);
  bind_fill(m, "fill_uniform", RandomKind::uniform, "low", "high",
            "Fills an array in place with what uniform draws.");
  bind_fill(m, "fill_normal", RandomKind::normal, "mean", "std",
            "Fills an array in place with what normal draws.");
  m.def(
      "fill_bernoulli",
      [](const Output& out, double p, Generator* generator) {
        random_fill(RandomKind::bernoulli, out, p, 0, chosen(generator, out->device()));
      },
      py::arg("out"), py::arg("p"), py::arg("generator") = py::none(), ReleaseGil(),
      "Fills an array in place with what bernoulli draws.");
  m.def(
      "dropout",
      [](const ArrayLike& x, double p, Generator* generator) {
        Array mask;
        Array out = dropout(x, p, chosen(generator, x->device()), mask);
        return std::pair<Array, Array>(out, mask);
      },
      py::arg("x"), py::arg("p"), py::arg("generator") = py::none(), ReleaseGil(),
      "(out, mask): each element is dropped with probability p, out = x mask / (1 - p) (Srivastava et al. "
      "2014).\n\nx: any shape, float32 or float64. mask: uint8, 1 where x was kept. ValueError unless 0 <= p "
      "<= 1.");
  m.def(
      "dropout_backward",
      [](const ArrayLike& dout, const ArrayLike& mask, double p) { return dropout_backward(dout, mask, p); },
      py::arg("dout"), py::arg("mask"), py::arg("p"), ReleaseGil(),
      "The gradient of dropout by its input: dout mask / (1 - p).\n\nmask: as dropout gave it.");
}

}  // namespace weft
