#include "loopwright/conv2d.h"

#include <pybind11/stl.h>

#include "arguments.h"
#include "module.h"
#include "schedule.h"
#include "timing.h"

namespace loopwright {
namespace {

Conv2dGeometry make_geometry(const std::array<int64_t, 4>& weight_shape, const Pair& stride,
                             const std::array<int64_t, 4>& padding, const Pair& dilation, int64_t groups) {
  Conv2dGeometry g{};
  if (groups < 1) throw py::value_error("groups must be at least 1, got " + std::to_string(groups));
  g.groups = groups;
  g.o = weight_shape[0];
  g.c = weight_shape[1] * groups;
  g.kh = weight_shape[2];
  g.kw = weight_shape[3];
  if (*std::min_element(weight_shape.begin(), weight_shape.end()) < 1)
    throw py::value_error("weight must not be empty");
  if (g.o % groups != 0)
    throw py::value_error("groups must divide weight's " + std::to_string(g.o) + " output channels, got " +
                          std::to_string(groups));
  std::tie(g.stride_h, g.stride_w) = at_least("stride", stride, 1);
  std::tie(g.dilation_h, g.dilation_w) = at_least("dilation", dilation, 1);
  if (*std::min_element(padding.begin(), padding.end()) < 0) throw py::value_error("padding must not be negative");
  std::tie(g.pad_top, g.pad_left, g.pad_bottom, g.pad_right) = std::tuple_cat(padding);
  return g;
}

std::unique_ptr<Conv2d> make_conv2d(const py::object& weight_object, const py::object& bias_object, const Pair& stride,
                                    const std::array<int64_t, 4>& padding, const Pair& dilation, int64_t groups,
                                    const std::optional<std::string>& activation, const std::optional<std::string>& isa,
                                    int threads, const std::optional<py::dict>& schedule,
                                    const MachineModelArgument& machine) {
  const py::array weight =
      contiguous(checked(weight_object, "weight", {-1, -1, -1, -1}, {Dtype::kFloat32, Dtype::kBfloat16}));
  const Conv2dGeometry geometry = make_geometry({weight.shape(0), weight.shape(1), weight.shape(2), weight.shape(3)},
                                                stride, padding, dilation, groups);
  py::array bias;
  if (!bias_object.is_none()) bias = contiguous(checked(bias_object, "bias", {geometry.o}));
  std::optional<Conv2d::Schedule> parsed;
  if (schedule) parsed = parse_conv2d_schedule(geometry, dtype_of(weight), schedule_values(*schedule));
  return std::make_unique<Conv2d>(weight.data(), dtype_of(weight), geometry,
                                  bias_object.is_none() ? nullptr : static_cast<const float*>(bias.data()),
                                  parse_activation(activation), parse_target(isa, machine), check_threads(threads),
                                  parsed);
}

Images fitting_images(const Conv2dGeometry& g, int64_t n, int64_t h, int64_t w) {
  if (n < 1) throw py::value_error("x must have at least one image, got " + std::to_string(n));
  if (g.output_h(h) < 1 || g.output_w(w) < 1)
    throw py::value_error("x must have images of at least " + std::to_string(g.span_h() - g.pad_top - g.pad_bottom) +
                          "x" + std::to_string(g.span_w() - g.pad_left - g.pad_right) + " for this kernel, got " +
                          std::to_string(h) + "x" + std::to_string(w));
  return {n, h, w};
}

// The arguments of one call, checked, and copied if they are not contiguous.
struct Call {
  py::array x, out, residual;
  Images images{};
  Dtype out_dtype{};

  Call(const Conv2d& op, const py::object& x_object, const py::object& out_object, const py::object& residual_object) {
    const Conv2dGeometry& g = op.geometry();
    x = contiguous_or_copied(checked(x_object, "x", {-1, -1, -1, g.c}, {op.dtype()}));
    images = fitting_images(g, x.shape(0), x.shape(1), x.shape(2));
    const std::vector<int64_t> shape{images.n, g.output_h(images.h), g.output_w(images.w), g.o};
    out = output(out_object, "out", shape, x.dtype());
    out_dtype = dtype_of(out);
    if (overlap(out, x)) throw py::value_error("out must not overlap x");
    if (residual_object.is_none()) return;
    residual = contiguous_or_copied(checked(residual_object, "residual", shape, {op.dtype()}));
    if (residual.data() != out.data() && overlap(residual, out))
      throw py::value_error("residual must be out itself or not overlap it");
  }

  void run(const Conv2d& op) const {
    op.run(x.data(), images, const_cast<void*>(out.data()), out_dtype, residual.size() ? residual.data() : nullptr);
  }
};

py::array run_conv2d(const Conv2d& op, const py::object& x, const py::object& out, const py::object& residual) {
  const Call call(op, x, out, residual);
  {
    const py::gil_scoped_release released;
    call.run(op);
  }
  return call.out;
}

std::vector<double> time_conv2d(const Conv2d& op, const py::object& x, const py::object& out,
                                const py::object& residual, int number, int repeat) {
  const Call call(op, x, out, residual);
  return time_runs(number, repeat, [&] { call.run(op); });
}

void evict_weights(const Conv2d& op, int64_t n, int64_t h, int64_t w) {
  const Images images = fitting_images(op.geometry(), n, h, w);
  const py::gil_scoped_release released;
  op.evict_weights(images);
}

py::dict schedule_of(const Conv2d& op, int64_t n, int64_t h, int64_t w) {
  return to_dict(to_values(op.schedule(fitting_images(op.geometry(), n, h, w))));
}

}  // namespace

void bind_convolution(py::module_& m) {
  m.def(
      "default_conv2d_schedule",
      [](int64_t n, int64_t h, int64_t w, int64_t c, int64_t o, const Pair& kernel, const Pair& stride,
         const std::array<int64_t, 4>& padding, const Pair& dilation, int64_t groups, const std::string& isa,
         int threads, const std::string& dtype_name, bool fast, const MachineModelArgument& machine) {
        const Target target = parse_target(isa, machine);
        const Dtype dtype = parse_available_dtype(dtype_name, target);
        const Conv2dGeometry geometry =
            make_geometry({o, c, kernel.first, kernel.second}, stride, padding, dilation, groups);
        return to_dict(to_values(default_conv2d_schedule(target, dtype, geometry, fitting_images(geometry, n, h, w),
                                                         check_threads(threads), fast)));
      },
      py::arg("n"), py::arg("h"), py::arg("w"), py::arg("c"), py::arg("o"), py::arg("kernel"), py::arg("stride"),
      py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("isa"), py::arg("threads"), py::arg("dtype"),
      py::arg("fast"), py::arg("machine"));
  py::class_<Conv2d>(m, "Conv2d")
      .def(py::init(&make_conv2d), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
           py::arg("dilation"), py::arg("groups"), py::arg("activation"), py::arg("isa"), py::arg("threads"),
           py::arg("schedule"), py::arg("machine"))
      .def("__call__", &run_conv2d, py::arg("x"), py::arg("out"), py::arg("residual"))
      .def("time", &time_conv2d, py::arg("x"), py::arg("out"), py::arg("residual"), py::arg("number"),
           py::arg("repeat"))
      .def("evict_weights", &evict_weights, py::arg("n"), py::arg("h"), py::arg("w"))
      .def("schedule", &schedule_of, py::arg("n"), py::arg("h"), py::arg("w"));
}

}  // namespace loopwright
