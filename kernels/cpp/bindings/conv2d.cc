#include "loopwright/conv2d.h"

#include <pybind11/stl.h>

#include "arguments.h"
#include "convolution.h"
#include "module.h"
#include "packed_layer.h"
#include "schedule.h"

namespace loopwright {
namespace {

Conv2dGeometry make_geometry(const std::array<int64_t, 4>& weight_shape, const Pair& stride, const FourSides& padding,
                             const Pair& dilation, int64_t groups) {
  Conv2dGeometry g{};
  if (*std::min_element(weight_shape.begin(), weight_shape.end()) < 1)
    throw py::value_error("weight must not be empty");
  set_window(g, stride, padding, dilation, groups, weight_shape[0], "output");
  g.o = weight_shape[0];
  g.c = weight_shape[1] * groups;
  g.kh = weight_shape[2];
  g.kw = weight_shape[3];
  return g;
}

std::unique_ptr<Conv2d> make_conv2d(const py::object& weight_object, const py::object& bias_object, const Pair& stride,
                                    const FourSides& padding, const Pair& dilation, int64_t groups,
                                    const std::optional<std::string>& activation, const py::object& slopes,
                                    const py::object& quantization, const std::optional<std::string>& isa, int threads,
                                    const std::optional<py::dict>& schedule, const MachineModelArgument& machine) {
  const py::array weight = contiguous(checked(weight_object, "weight", {-1, -1, -1, -1}, kWeightDtypes));
  const Conv2dGeometry geometry = make_geometry({weight.shape(0), weight.shape(1), weight.shape(2), weight.shape(3)},
                                                stride, padding, dilation, groups);
  const EpilogueArrays arrays(bias_object, activation, slopes, geometry.o, quantization);
  std::optional<Conv2d::Schedule> parsed;
  if (schedule) parsed = parse_conv2d_schedule(geometry, dtype_of(weight), schedule_values(*schedule));
  return std::make_unique<Conv2d>(weight.data(), dtype_of(weight), geometry, arrays.epilogue(),
                                  parse_target(isa, machine), check_threads(threads), parsed);
}

Images fitting_images(const Conv2dGeometry& g, int64_t n, int64_t h, int64_t w) {
  if (n < 1) throw py::value_error("x must have at least one image, got " + std::to_string(n));
  if (g.output_h(h) < 1 || g.output_w(w) < 1)
    throw py::value_error("x must have images of at least " + std::to_string(g.span_h() - g.pad_top - g.pad_bottom) +
                          "x" + std::to_string(g.span_w() - g.pad_left - g.pad_right) + " for this kernel, got " +
                          std::to_string(h) + "x" + std::to_string(w));
  return {n, h, w};
}

// The arguments of one call.
struct Call : ImageArrays {
  Dtype x_dtype{}, out_dtype{}, residual_dtype{};

  Call(const Conv2d& op, const py::object& x_object, const py::object& out_object, const py::object& residual_object)
      : ImageArrays(x_object, op.geometry().c,
                    op.takes_bfloat16() ? or_float32(Dtype::kBfloat16) : input_dtypes(op.dtypes())) {
    const Conv2dGeometry& g = op.geometry();
    fitting_images(g, images.n, images.h, images.w);
    x_dtype = dtype_of(x);
    const std::vector<int64_t> shape{images.n, g.output_h(images.h), g.output_w(images.w), g.o};
    if (op.takes_bfloat16()) {
      // The type of a new output. A given one may be float32, too.
      const Dtype dtype = out_object.is(py::none()) ? x_dtype : Dtype::kBfloat16;
      set_output(out_object, residual_object, shape, dtype, or_float32(Dtype::kBfloat16));
    } else {
      set_output(out_object, residual_object, shape, op.dtypes().out, residual_dtypes(op.dtypes()));
    }
    out_dtype = dtype_of(out);
    residual_dtype = residual.size() ? dtype_of(residual) : op.dtypes().residual;
  }

  void run(const Conv2d& op) const {
    op.run(x.data(), x_dtype, images, written(), out_dtype, residual_data(), residual_dtype);
  }
};

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
  // A function of a convolution's default schedule.
  const auto define = [&m](const char* name, auto function) {
    m.def(
        name,
        [function](int64_t n, int64_t h, int64_t w, int64_t c, int64_t o, const Pair& kernel, const Pair& stride,
                   const FourSides& padding, const Pair& dilation, int64_t groups, const std::string& isa, int threads,
                   const std::string& dtype_name, bool fast, const MachineModelArgument& machine) {
          const Target target = parse_target(isa, machine);
          const Dtype dtype = parse_available_dtype(dtype_name, target);
          const Conv2dGeometry geometry =
              make_geometry({o, c, kernel.first, kernel.second}, stride, padding, dilation, groups);
          return function(target, dtype, geometry, fitting_images(geometry, n, h, w), check_threads(threads), fast);
        },
        py::arg("n"), py::arg("h"), py::arg("w"), py::arg("c"), py::arg("o"), py::arg("kernel"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("isa"), py::arg("threads"),
        py::arg("dtype"), py::arg("fast"), py::arg("machine"));
  };
  define("default_conv2d_schedule",
         [](const auto&... of) { return to_dict(to_values(default_conv2d_schedule(of...))); });
  define("default_convolution_cycles", [](const auto&... of) { return default_convolution_cycles(of...); });
  py::class_<Conv2d> layer(m, "Conv2d");
  bind_calls<Call>(layer);
  layer
      .def(py::init(&make_conv2d), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
           py::arg("dilation"), py::arg("groups"), py::arg("activation"), py::arg("slopes"), py::arg("quantization"),
           py::arg("isa"), py::arg("threads"), py::arg("schedule"), py::arg("machine"))
      .def("evict_weights", &evict_weights, py::arg("n"), py::arg("h"), py::arg("w"))
      .def("schedule", &schedule_of, py::arg("n"), py::arg("h"), py::arg("w"));
}

}  // namespace loopwright
