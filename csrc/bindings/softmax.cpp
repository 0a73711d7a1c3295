#include "ops/softmax.h"

#include "bindings/bindings.h"

namespace weft {

namespace {

void bind_one(py::module_& m, const char* forward, const char* backward, bool log, const char* formula) {
  m.def(
      forward, [log](const ArrayLike& x, std::int64_t axis) { return softmax(x, axis, log); }, py::arg("x"),
      py::arg("axis") = -1, ReleaseGil(),
      (std::string(formula) + "\n\nx: any shape, float32 or float64. Returns the same shape and dtype. A row "
                              "with NaN or +inf, or only "
                              "-inf, gives NaN.\nIndexError for an axis out of range.")
          .c_str());
  m.def(
      backward,
      [log](const ArrayLike& dout, const ArrayLike& out, std::int64_t axis) {
        return softmax_backward(dout, out, axis, log);
      },
      py::arg("dout"), py::arg("out"), py::arg("axis") = -1, ReleaseGil(),
      (std::string("The gradient of ") + forward + " by its input, from its output `out`.").c_str());
}

}  // namespace

void bind_softmax(py::module_& m) {
  bind_one(m, "softmax", "softmax_backward", false,
           "exp(x_i - max x) / sum over j of exp(x_j - max x), along one axis.");
  bind_one(m, "log_softmax", "log_softmax_backward", true,
           "x_i - max x - log sum over j of exp(x_j - max x), along one axis.");
}

}  // namespace weft
