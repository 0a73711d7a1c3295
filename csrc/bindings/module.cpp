// The compiled module weft.kernels.
#include <new>

#include "bindings/bindings.h"
#include "core/error.h"
#include "core/generator.h"
#include "core/threads.h"

namespace weft {

namespace {

void translate(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const ValueError& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const IndexError& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const StateError& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (const OutOfMemory& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const std::bad_alloc&) {  // not for an array: those say how large they are
    PyErr_SetString(PyExc_MemoryError, "memory: the system gives no more, not even for a list of arguments");
  }
}

}  // namespace

PYBIND11_MODULE(kernels, m) {
  m.doc() =
      "The kernels of weft, as they are: each function checks its arguments, allocates its result, and runs "
      "one kernel. "
      "Arguments are weft Arrays, Tensors, NumPy arrays or anything with __dlpack__, read without a copy.";
  py::register_exception_translator(&translate);
#define WEFT_CALL_BINDING(family) bind_##family(m);
  WEFT_BINDINGS(WEFT_CALL_BINDING)
  watch_for_the_end();
  // What is made at first use, by whatever thread: a fork at that moment would leave it half made.
  num_threads();
  default_generator({});
}

}  // namespace weft
