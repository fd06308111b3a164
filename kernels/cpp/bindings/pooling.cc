#include "loopwright/pooling.h"

#include <pybind11/stl.h>

#include <tuple>

#include "arguments.h"
#include "function_call.h"
#include "module.h"

namespace loopwright {
namespace {

PoolGeometry make_geometry(const Pair& kernel, const Pair& stride, const FourSides& padding, const Pair& dilation,
                           bool ceil_mode) {
  PoolGeometry g{};
  std::tie(g.h.kernel, g.w.kernel) = at_least("kernel", kernel, 1);
  std::tie(g.h.stride, g.w.stride) = at_least("stride", stride, 1);
  std::tie(g.h.dilation, g.w.dilation) = at_least("dilation", dilation, 1);
  std::tie(g.h.pad_begin, g.w.pad_begin, g.h.pad_end, g.w.pad_end) = std::tuple_cat(padding);
  for (const Window* axis : {&g.h, &g.w}) {
    if (std::min(axis->pad_begin, axis->pad_end) < 0) throw py::value_error("padding must not be negative");
    if (std::max(axis->pad_begin, axis->pad_end) >= axis->span())
      throw py::value_error("padding must be smaller than the kernel");
  }
  g.ceil_mode = ceil_mode;
  return g;
}

py::array images_of(const py::object& x, const std::vector<Dtype>& dtypes = {Dtype::kFloat32}) {
  return contiguous_or_copied(checked(x, "x", {-1, -1, -1, -1}, dtypes));
}

FunctionCall pool(Pooling pooling, const PoolGeometry& g, const py::array& x, const py::object& out_object,
                  const std::optional<std::string>& isa_name, int threads) {
  const Images images{x.shape(0), x.shape(1), x.shape(2)};
  const int64_t c = x.shape(3), oh = g.output_h(images.h), ow = g.output_w(images.w);
  if (oh < 1 || ow < 1)
    throw py::value_error("x must have images of at least " + std::to_string(g.h.span() - g.h.pad_begin - g.h.pad_end) +
                          "x" + std::to_string(g.w.span() - g.w.pad_begin - g.w.pad_end) + " for this kernel, got " +
                          std::to_string(images.h) + "x" + std::to_string(images.w));
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  const Dtype dtype = dtype_of(x);
  py::array out = output(out_object, "out", {images.n, oh, ow, c}, dtype);
  if (dtype_of(out) != dtype) throw py::type_error(std::string("out must be of ") + name(dtype) + ", as x is");
  if (overlap(out, x)) throw py::value_error("out must not overlap x");
  const auto run = [=] {
    if (is_integer(dtype))
      return max_pool2d_of_integers(g, x.data(), dtype, images, c, const_cast<void*>(out.data()), isa, threads);
    pool2d(pooling, g, static_cast<const float*>(x.data()), images, c,
           static_cast<float*>(const_cast<void*>(out.data())), isa, threads);
  };
  return {out, run};
}

FunctionCall max_pool2d(const py::object& x, const Pair& kernel, const Pair& stride, const FourSides& padding,
                        const Pair& dilation, bool ceil_mode, const py::object& out,
                        const std::optional<std::string>& isa, int threads) {
  const PoolGeometry g = make_geometry(kernel, stride, padding, dilation, ceil_mode);
  return pool(Pooling::kMax, g, images_of(x, {Dtype::kFloat32, Dtype::kInt8, Dtype::kUint8}), out, isa, threads);
}

FunctionCall avg_pool2d(const py::object& x, const Pair& kernel, const Pair& stride, const FourSides& padding,
                        bool ceil_mode, bool count_include_pad, const py::object& out,
                        const std::optional<std::string>& isa, int threads) {
  const PoolGeometry g = make_geometry(kernel, stride, padding, {1, 1}, ceil_mode);
  return pool(count_include_pad ? Pooling::kAverageWithPads : Pooling::kAverage, g, images_of(x), out, isa, threads);
}

FunctionCall global_avg_pool2d(const py::object& x_object, const py::object& out, const std::optional<std::string>& isa,
                               int threads) {
  const py::array x = images_of(x_object);
  const PoolGeometry whole{Window{x.shape(1)}, Window{x.shape(2)}};
  return pool(Pooling::kAverage, whole, x, out, isa, threads);
}

}  // namespace

void bind_pooling(py::module_& m) {
  m.def("max_pool2d", &max_pool2d, py::arg("x"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
        py::arg("dilation"), py::arg("ceil_mode"), py::arg("out"), py::arg("isa"), py::arg("threads"));
  m.def("avg_pool2d", &avg_pool2d, py::arg("x"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
        py::arg("ceil_mode"), py::arg("count_include_pad"), py::arg("out"), py::arg("isa"), py::arg("threads"));
  m.def("global_avg_pool2d", &global_avg_pool2d, py::arg("x"), py::arg("out"), py::arg("isa"), py::arg("threads"));
}

}  // namespace loopwright
