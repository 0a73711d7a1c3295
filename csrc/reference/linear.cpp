// The gradients of the fully connected layer; see ops/linear.h.
#include <vector>

#include "reference/kernels.h"

namespace weft::reference {

void linear_backward(Stream& stream, const LinearBackwardArgs& given) {
  LinearBackwardArgs a = given;
  std::vector<std::byte> g;
  if (a.activation != Activation::none) {
    g.resize(static_cast<std::size_t>(a.M * a.O) * itemsize(a.dtype));
    activation_backward(stream, gradient_of_sums(a, g.data()));
    a.dout.data = g.data();
  }
  if (a.dx) gemm(stream, product_dx(a));
  if (a.dw) gemm(stream, product_dw(a));
  if (a.db) reduce(stream, sum_db(a));
}

}  // namespace weft::reference
