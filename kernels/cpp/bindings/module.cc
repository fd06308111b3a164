// The Python bindings of the kernels. They check all arguments before anything is computed, and release the GIL while a
// kernel runs.
#include "module.h"

#include <new>

PYBIND11_MODULE(_native, m) {
  pybind11::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const std::bad_alloc&) {
      PyErr_SetString(PyExc_MemoryError, "not enough memory for packed weights or scratch");
    }
  });
  loopwright::bind_images(m);
  loopwright::bind_machine(m);
  loopwright::bind_machine_model(m);
  loopwright::bind_function_call(m);
  loopwright::bind_dense(m);
  loopwright::bind_block_dense(m);
  loopwright::bind_attention(m);
  loopwright::bind_convolution(m);
  loopwright::bind_conv_transpose2d(m);
  loopwright::bind_normalization(m);
  loopwright::bind_pooling(m);
  loopwright::bind_recurrent(m);
  loopwright::bind_rowwise(m);
  loopwright::bind_topology(m);
  loopwright::bind_simulation(m);
}
