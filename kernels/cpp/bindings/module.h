// One function a file of this folder: it defines what that file binds.
#pragma once

#include <pybind11/pybind11.h>

namespace loopwright {

void bind_attention(pybind11::module_& m);
void bind_conv2d(pybind11::module_& m);
void bind_dense(pybind11::module_& m);
void bind_machine(pybind11::module_& m);
void bind_pooling(pybind11::module_& m);
void bind_rowwise(pybind11::module_& m);

}  // namespace loopwright
