// oneDNN's C++ interface as Python calls it, one function an operator. Activations are reordered into the layout that the
// primitive wants while the layer is made, and the answer back in run(), so that neither is ever timed.
#include <pybind11/stl.h>

#include "attention.h"
#include "convolution.h"
#include "deconvolution.h"
#include "dense.h"
#include "layer.h"
#include "rowwise.h"
#include "scales.h"

namespace {

std::string version() {
  const dnnl::version_t* v = dnnl::version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace

PYBIND11_MODULE(LOOPWRIGHT_MODULE, module) {
  using onednn::Layer;
  module.def("version", &version);
  module.def("dense", &onednn::dense);
  module.def("convolution", &onednn::convolution);
  module.def("deconvolution", &onednn::deconvolution);
  module.def("attention", &onednn::attention);
  module.def("softmax", &onednn::softmax);
  module.def("layer_norm", &onednn::layer_norm);
  module.def("pool", &onednn::pool);
  module.def("add", &onednn::add);
  pybind11::class_<onednn::Scales>(module, "Scales")
      .def(pybind11::init<pybind11::array, pybind11::array, pybind11::array, float>());
  pybind11::class_<Layer>(module, "Layer")
      .def("run", &Layer::run)
      .def("time", &Layer::time, pybind11::arg("number"), pybind11::arg("repeat"))
      .def("copy", &Layer::copy)
      .def_property_readonly("implementation", &Layer::implementation);
}
