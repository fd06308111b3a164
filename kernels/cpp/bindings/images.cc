#include <pybind11/stl.h>

#include "arguments.h"
#include "function_call.h"
#include "loopwright/channels_last.h"
#include "module.h"

namespace loopwright {
namespace {

FunctionCall make_channels_last(const py::object& x_object, const std::optional<IntegersOf>& integers,
                                const py::object& out_object, const std::optional<std::string>& isa_name, int threads) {
  const py::array x = contiguous_or_copied(checked(x_object, "x", {-1, -1, -1, -1}));
  const int64_t n = x.shape(0), c = x.shape(1), h = x.shape(2), w = x.shape(3);
  if (c > kMostPlanes) throw py::value_error("x must have up to 4 channels, got " + std::to_string(c));
  std::optional<Quantization> quantization;
  if (integers) quantization = parse_quantization(*integers);
  if (quantization) check_quantization("the output", *quantization);
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  const Dtype dtype = quantization ? quantization->dtype : Dtype::kFloat32;
  py::array out = output(out_object, "out", {n, h, w, c}, dtype);
  if (dtype_of(out) != dtype) throw py::type_error(std::string("out must be of ") + name(dtype));
  if (overlap(out, x)) throw py::value_error("out must not overlap x");
  return {out, [=] {
            channels_last(static_cast<const float*>(x.data()), n, c, h * w, quantization, const_cast<void*>(out.data()),
                          isa, threads);
          }};
}

}  // namespace

void bind_images(py::module_& m) {
  m.def("channels_last", &make_channels_last, py::arg("x"), py::arg("integers"), py::arg("out"), py::arg("isa"),
        py::arg("threads"));
}

}  // namespace loopwright
