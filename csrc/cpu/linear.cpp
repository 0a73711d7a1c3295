// The gradients of the fully connected layer; see ops/linear.h. One product after the other: each has all
// threads, and what the first leaves in the caches the next one reads.
#include "cpu/kernels.h"
#include "cpu/scratch.h"

namespace weft::cpu::WEFT_ISA {

void linear_backward(Stream& stream, const LinearBackwardArgs& given) {
  LinearBackwardArgs a = given;
  const bool activated = a.activation != Activation::none;
  const Scratch<char> g(activated ? a.M * a.O * static_cast<std::int64_t>(itemsize(a.dtype)) : 0);
  if (activated) {
    activation_backward(stream, gradient_of_sums(a, g.data()));
    a.dout.data = g.data();
  }
  if (a.dx) gemm(stream, product_dx(a));
  if (a.dw) gemm(stream, product_dw(a));
  if (a.db) reduce(stream, sum_db(a));
}

}  // namespace weft::cpu::WEFT_ISA
