#include "loopwright/rowwise.h"

#include <pybind11/stl.h>

#include <cmath>

#include "arguments.h"
#include "module.h"

namespace loopwright {
namespace {

std::vector<int64_t> shape_of(const py::array& a) { return {a.shape(), a.shape() + a.ndim()}; }

// An array of float32 of any rank, not empty.
py::array checked_array(const py::object& value, const char* argument) {
  const auto rank = py::isinstance<py::array>(value) ? py::cast<py::array>(value).ndim() : 0;
  return checked(value, argument, std::vector<int64_t>(static_cast<size_t>(rank), -1));
}

const float* read(const py::array& a) { return static_cast<const float*>(a.data()); }

// An array of the shape of `x`, which may be x itself.
py::array output_like(const py::array& x, const py::object& value) { return output(value, "out", shape_of(x)); }

void check_same_or_apart(const py::array& out, const py::array& input, const char* argument) {
  if (out.data() != input.data() && overlap(out, input))
    throw py::value_error(std::string("out must be ") + argument + " itself or not overlap it");
}

float* written(const py::array& out) { return static_cast<float*>(const_cast<void*>(out.data())); }

// Rows along the last axis, which `x` must have.
struct RowsOf {
  int64_t rows, n;
  explicit RowsOf(const py::array& x) {
    if (x.ndim() == 0) throw py::value_error("x must have at least one axis, got shape ()");
    n = x.shape(x.ndim() - 1);
    rows = x.size() / n;
  }
};

py::array run_add(const py::object& a_object, const py::object& b_object, const std::optional<std::string>& activation,
                  const py::object& out_object, const std::optional<std::string>& isa_name, int threads) {
  const py::array a = contiguous_or_copied(checked_array(a_object, "a"));
  const py::array b = contiguous_or_copied(checked(b_object, "b", shape_of(a)));
  const Activation parsed = parse_activation(activation);
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  py::array out = output_like(a, out_object);
  check_same_or_apart(out, a, "a");
  check_same_or_apart(out, b, "b");
  const py::gil_scoped_release released;
  add(read(a), read(b), parsed, written(out), a.size(), isa, threads);
  return out;
}

py::array run_activation(const py::object& x_object, const std::string& name, const py::object& out_object,
                         const std::optional<std::string>& isa_name, int threads) {
  const py::array x = contiguous_or_copied(checked_array(x_object, "x"));
  const Activation parsed = parse_activation(name);
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  py::array out = output_like(x, out_object);
  check_same_or_apart(out, x, "x");
  const py::gil_scoped_release released;
  add(read(x), nullptr, parsed, written(out), x.size(), isa, threads);
  return out;
}

py::array run_softmax(const py::object& x_object, const py::object& out_object,
                      const std::optional<std::string>& isa_name, int threads) {
  const py::array x = contiguous_or_copied(checked_array(x_object, "x"));
  const RowsOf shape(x);
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  py::array out = output_like(x, out_object);
  check_same_or_apart(out, x, "x");
  const py::gil_scoped_release released;
  softmax(read(x), written(out), shape.rows, shape.n, isa, threads);
  return out;
}

py::array run_layer_norm(const py::object& x_object, const py::object& gamma_object, const py::object& beta_object,
                         float eps, const py::object& residual_object, const py::object& out_object,
                         const std::optional<std::string>& isa_name, int threads) {
  const py::array x = contiguous_or_copied(checked_array(x_object, "x"));
  const RowsOf shape(x);
  const py::array gamma = contiguous_or_copied(checked(gamma_object, "gamma", {shape.n}));
  const py::array beta = contiguous_or_copied(checked(beta_object, "beta", {shape.n}));
  if (!(eps >= 0.0f) || std::isinf(eps))
    throw py::value_error("eps must be finite and not negative, got " + py::cast<std::string>(py::str(py::cast(eps))));
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  py::array out = output_like(x, out_object);
  check_same_or_apart(out, x, "x");
  if (overlap(out, gamma)) throw py::value_error("out must not overlap gamma");
  if (overlap(out, beta)) throw py::value_error("out must not overlap beta");
  LayerNormArgs args{read(x), nullptr, read(gamma), read(beta), written(out), shape.rows, shape.n, eps};
  py::array residual;
  if (!residual_object.is_none()) {
    residual = contiguous_or_copied(checked(residual_object, "residual", shape_of(x)));
    check_same_or_apart(out, residual, "residual");
    args.residual = read(residual);
  }
  const py::gil_scoped_release released;
  layer_norm(args, isa, threads);
  return out;
}

}  // namespace

void bind_rowwise(py::module_& m) {
  m.def("add", &run_add, py::arg("a"), py::arg("b"), py::arg("activation"), py::arg("out"), py::arg("isa"),
        py::arg("threads"));
  m.def("activation", &run_activation, py::arg("x"), py::arg("name"), py::arg("out"), py::arg("isa"),
        py::arg("threads"));
  m.def("softmax", &run_softmax, py::arg("x"), py::arg("out"), py::arg("isa"), py::arg("threads"));
  m.def("layer_norm", &run_layer_norm, py::arg("x"), py::arg("gamma"), py::arg("beta"), py::arg("eps"),
        py::arg("residual"), py::arg("out"), py::arg("isa"), py::arg("threads"));
}

}  // namespace loopwright
