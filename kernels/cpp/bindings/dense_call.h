// Calls of dense layers from Python.
#pragma once

#include "arguments.h"
#include "packed_layer.h"

namespace loopwright {

// The arguments of one call, checked, and copied if their rows are not contiguous.
template <class Layer>
struct DenseCall {
  py::array x, out, residual;
  Matrix x_matrix{}, out_matrix{}, residual_matrix{};

  DenseCall(const Layer& dense, const py::object& x_object, const py::object& out_object,
            const py::object& residual_object) {
    x = checked(x_object, "x", {-1, dense.k()}, input_dtypes(dense.dtypes()));
    if (!has_rows(x)) x = contiguous(x);
    const int64_t m = x.shape(0);
    if (out_object.is_none()) {
      out = py::array(numpy_dtype(dense.dtypes().out), {m, dense.n()});
    } else {
      out = checked(out_object, "out", {m, dense.n()}, or_float32(dense.dtypes().out));
      if (!out.writeable()) throw py::value_error("out must be writable");
      if (!has_rows(out)) throw py::value_error("out must have contiguous rows that do not overlap");
      if (overlap(out, x)) throw py::value_error("out must not overlap x");
    }
    x_matrix = as_matrix(x);
    out_matrix = as_matrix(out);
    residual_matrix.dtype = dense.dtypes().residual;
    if (residual_object.is_none()) return;
    residual = checked(residual_object, "residual", {m, dense.n()}, residual_dtypes(dense.dtypes()));
    if (!has_rows(residual)) residual = contiguous(residual);
    residual_matrix = as_matrix(residual);
    const bool same = residual_matrix.data == out_matrix.data && residual_matrix.stride == out_matrix.stride &&
                      residual.itemsize() == out.itemsize();
    if (!same && overlap(residual, out)) throw py::value_error("residual must be out itself or not overlap it");
  }

  void run(const Layer& dense) const { dense.run(x_matrix, x.shape(0), out_matrix, residual_matrix); }
};

}  // namespace loopwright
