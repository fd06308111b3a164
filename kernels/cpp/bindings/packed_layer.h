// Calls of layers with packed weights from Python: one run, and many runs that are timed.
#pragma once

#include <vector>

#include "arguments.h"
#include "timing.h"

namespace loopwright {

// Dtypes of weights.
inline const std::vector<Dtype> kWeightDtypes = {Dtype::kFloat32, Dtype::kBfloat16, Dtype::kInt8};

// Returns the dtypes that x may have. bfloat16 layers round float32.
inline std::vector<Dtype> input_dtypes(const LayerDtypes& layer) {
  return layer.x == Dtype::kBfloat16 ? or_float32(layer.x) : std::vector<Dtype>{layer.x};
}

// Returns the dtypes that a residual may have.
inline std::vector<Dtype> residual_dtypes(const LayerDtypes& layer) { return or_float32(layer.residual); }

// Adds `__call__` and `time` to a class. `Call` is constructed from the layer, x, out and residual, which it checks; it has
// the array `out`, and `run(layer)`.
template <class Call, class Layer>
void bind_calls(py::class_<Layer>& layer) {
  layer.def(
      "__call__",
      [](const Layer& self, const py::object& x, const py::object& out, const py::object& residual) {
        const Call call(self, x, out, residual);
        {
          const py::gil_scoped_release released;
          call.run(self);
        }
        return call.out;
      },
      py::arg("x"), py::arg("out"), py::arg("residual"));
  layer.def(
      "time",
      [](const Layer& self, const py::object& x, const py::object& out, const py::object& residual, int number,
         int repeat) {
        const Call call(self, x, out, residual);
        return time_runs(number, repeat, [&] { call.run(self); });
      },
      py::arg("x"), py::arg("out"), py::arg("residual"), py::arg("number"), py::arg("repeat"));
}

}  // namespace loopwright
