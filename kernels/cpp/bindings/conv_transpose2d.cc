#include "loopwright/conv_transpose2d.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <tuple>

#include "arguments.h"
#include "module.h"
#include "timing.h"

namespace loopwright {
namespace {

// A transposed convolution and the threads of its calls.
struct Operator {
  std::unique_ptr<ConvTranspose2d> op;
  int threads;
};

ConvTranspose2dGeometry make_geometry(const py::array& weight, const Pair& stride,
                                      const std::array<int64_t, 4>& padding, const Pair& output_padding,
                                      const Pair& dilation, int64_t groups) {
  ConvTranspose2dGeometry g{};
  if (groups < 1) throw py::value_error("groups must be at least 1, got " + std::to_string(groups));
  g.groups = groups;
  g.c = weight.shape(0);
  g.o = weight.shape(1) * groups;
  g.kh = weight.shape(2);
  g.kw = weight.shape(3);
  if (std::min({g.c, g.o, g.kh, g.kw}) < 1) throw py::value_error("weight must not be empty");
  if (g.c % groups != 0)
    throw py::value_error("groups must divide weight's " + std::to_string(g.c) + " input channels, got " +
                          std::to_string(groups));
  std::tie(g.stride_h, g.stride_w) = at_least("stride", stride, 1);
  std::tie(g.dilation_h, g.dilation_w) = at_least("dilation", dilation, 1);
  std::tie(g.output_pad_h, g.output_pad_w) = at_least("output_padding", output_padding, 0);
  if (*std::min_element(padding.begin(), padding.end()) < 0) throw py::value_error("padding must not be negative");
  std::tie(g.pad_top, g.pad_left, g.pad_bottom, g.pad_right) = std::tuple_cat(padding);
  return g;
}

Operator make(const py::object& weight_object, const py::object& bias_object, const Pair& stride,
              const std::array<int64_t, 4>& padding, const Pair& output_padding, const Pair& dilation, int64_t groups,
              const std::optional<std::string>& activation, const std::optional<std::string>& isa, int threads,
              int64_t width, const MachineModelArgument& machine) {
  const py::array weight = contiguous(checked(weight_object, "weight", {-1, -1, -1, -1}));
  const ConvTranspose2dGeometry g = make_geometry(weight, stride, padding, output_padding, dilation, groups);
  py::array bias;
  if (!bias_object.is_none()) bias = contiguous(checked(bias_object, "bias", {g.o}));
  if (width < 1) throw py::value_error("width must be at least 1, got " + std::to_string(width));
  return {std::make_unique<ConvTranspose2d>(static_cast<const float*>(weight.data()), g,
                                            bias_object.is_none() ? nullptr : static_cast<const float*>(bias.data()),
                                            parse_activation(activation), parse_target(isa, machine), width),
          check_threads(threads)};
}

// The arguments of one call, checked, and copied if they are not contiguous.
struct Call {
  py::array x, out, residual;
  Images images{};

  Call(const Operator& self, const py::object& x_object, const py::object& out_object,
       const py::object& residual_object) {
    const ConvTranspose2dGeometry& g = self.op->geometry();
    x = contiguous_or_copied(checked(x_object, "x", {-1, -1, -1, g.c}));
    images = {x.shape(0), x.shape(1), x.shape(2)};
    const int64_t oh = g.output_h(images.h), ow = g.output_w(images.w);
    if (std::min({images.n, images.h, images.w}) < 1) throw py::value_error("x must not be empty");
    if (oh < 1 || ow < 1)
      throw py::value_error("the padding leaves " + std::to_string(std::max<int64_t>(0, oh)) + "x" +
                            std::to_string(std::max<int64_t>(0, ow)) + " outputs of images of " +
                            std::to_string(images.h) + "x" + std::to_string(images.w));
    const std::vector<int64_t> shape{images.n, oh, ow, g.o};
    out = output(out_object, "out", shape);
    if (dtype_of(out) != Dtype::kFloat32) throw py::type_error("out must be float32");
    if (overlap(out, x)) throw py::value_error("out must not overlap x");
    if (residual_object.is_none()) return;
    residual = contiguous_or_copied(checked(residual_object, "residual", shape));
    if (residual.data() != out.data() && overlap(residual, out))
      throw py::value_error("residual must be out itself or not overlap it");
  }

  void run(const Operator& self) const {
    self.op->run(static_cast<const float*>(x.data()), images, static_cast<float*>(const_cast<void*>(out.data())),
                 residual.size() ? static_cast<const float*>(residual.data()) : nullptr, self.threads);
  }
};

py::array run(const Operator& self, const py::object& x, const py::object& out, const py::object& residual) {
  const Call call(self, x, out, residual);
  {
    const py::gil_scoped_release released;
    call.run(self);
  }
  return call.out;
}

std::vector<double> time(const Operator& self, const py::object& x, const py::object& out, const py::object& residual,
                         int number, int repeat) {
  const Call call(self, x, out, residual);
  return time_runs(number, repeat, [&] { call.run(self); });
}

}  // namespace

void bind_conv_transpose2d(py::module_& m) {
  py::class_<Operator>(m, "ConvTranspose2d")
      .def(py::init(&make), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
           py::arg("output_padding"), py::arg("dilation"), py::arg("groups"), py::arg("activation"), py::arg("isa"),
           py::arg("threads"), py::arg("width"), py::arg("machine"))
      .def("__call__", &run, py::arg("x"), py::arg("out"), py::arg("residual"))
      .def("time", &time, py::arg("x"), py::arg("out"), py::arg("residual"), py::arg("number"), py::arg("repeat"))
      .def("evict_weights", [](const Operator& self) {
        const py::gil_scoped_release released;
        self.op->evict_weights(self.threads);
      });
}

}  // namespace loopwright
