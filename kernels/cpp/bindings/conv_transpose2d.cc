#include "loopwright/conv_transpose2d.h"

#include <pybind11/stl.h>

#include <tuple>

#include "arguments.h"
#include "convolution.h"
#include "module.h"
#include "packed_layer.h"

namespace loopwright {
namespace {

// A transposed convolution and the threads of its calls.
struct Operator {
  std::unique_ptr<ConvTranspose2d> op;
  int threads;
};

ConvTranspose2dGeometry make_geometry(const py::array& weight, const Pair& stride, const FourSides& padding,
                                      const Pair& dilation, int64_t groups, const Pair& output_padding) {
  ConvTranspose2dGeometry g{};
  set_window(g, stride, padding, dilation, groups, weight.shape(0), "input");
  g.c = weight.shape(0);
  g.o = weight.shape(1) * groups;
  g.kh = weight.shape(2);
  g.kw = weight.shape(3);
  std::tie(g.output_pad_h, g.output_pad_w) = at_least("output_padding", output_padding, 0);
  return g;
}

Operator make(const py::object& weight_object, const py::object& bias_object, const Pair& stride,
              const FourSides& padding, const Pair& dilation, int64_t groups, const Pair& output_padding,
              const std::optional<std::string>& activation, const py::object& slopes,
              const std::optional<std::string>& isa, int threads, int64_t width, const MachineModelArgument& machine) {
  const py::array weight = contiguous(checked(weight_object, "weight", {-1, -1, -1, -1}));
  const ConvTranspose2dGeometry g = make_geometry(weight, stride, padding, dilation, groups, output_padding);
  const EpilogueArrays arrays(bias_object, activation, slopes, g.o);
  if (width < 1) throw py::value_error("width must be at least 1, got " + std::to_string(width));
  return {std::make_unique<ConvTranspose2d>(static_cast<const float*>(weight.data()), g, arrays.epilogue(),
                                            parse_target(isa, machine), width),
          check_threads(threads)};
}

// The arguments of one call.
struct Call : ImageArrays {
  Call(const Operator& self, const py::object& x_object, const py::object& out_object,
       const py::object& residual_object)
      : ImageArrays(x_object, self.op->geometry().c, {Dtype::kFloat32}) {
    const ConvTranspose2dGeometry& g = self.op->geometry();
    const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w);
    if (oh < 1 || ow < 1)
      throw py::value_error("the padding leaves " + std::to_string(std::max<int64_t>(0, oh)) + "x" +
                            std::to_string(std::max<int64_t>(0, ow)) + " outputs of images of " +
                            std::to_string(images.h) + "x" + std::to_string(images.w));
    set_output(out_object, residual_object, {images.n, oh, ow, g.o});
  }

  void run(const Operator& self) const {
    self.op->run(static_cast<const float*>(x.data()), images, static_cast<float*>(written()),
                 static_cast<const float*>(residual_data()), self.threads);
  }
};

}  // namespace

void bind_conv_transpose2d(py::module_& m) {
  py::class_<Operator> layer(m, "ConvTranspose2d");
  bind_calls<Call>(layer);
  layer
      .def(py::init(&make), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
           py::arg("dilation"), py::arg("groups"), py::arg("output_padding"), py::arg("activation"), py::arg("slopes"),
           py::arg("isa"), py::arg("threads"), py::arg("width"), py::arg("machine"))
      .def("evict_weights", [](const Operator& self) {
        const py::gil_scoped_release released;
        self.op->evict_weights(self.threads);
      });
}

}  // namespace loopwright
