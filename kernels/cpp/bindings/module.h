// Each file of this folder defines one of these functions, which adds its bindings to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace loopwright {

void bind_attention(pybind11::module_& m);
void bind_block_dense(pybind11::module_& m);
void bind_conv_transpose2d(pybind11::module_& m);
void bind_convolution(pybind11::module_& m);
void bind_dense(pybind11::module_& m);
void bind_function_call(pybind11::module_& m);
void bind_images(pybind11::module_& m);
void bind_machine(pybind11::module_& m);
void bind_machine_model(pybind11::module_& m);
void bind_normalization(pybind11::module_& m);
void bind_pooling(pybind11::module_& m);
void bind_recurrent(pybind11::module_& m);
void bind_rowwise(pybind11::module_& m);
void bind_topology(pybind11::module_& m);
void bind_simulation(pybind11::module_& m);

}  // namespace loopwright
