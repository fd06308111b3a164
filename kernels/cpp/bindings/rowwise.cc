#include "loopwright/rowwise.h"

#include <pybind11/stl.h>

#include <array>
#include <cmath>

#include "arguments.h"
#include "function_call.h"
#include "module.h"

namespace loopwright {
namespace {

std::vector<int64_t> shape_of(const py::array& a) { return {a.shape(), a.shape() + a.ndim()}; }

// Returns the value as an array of float32 of any rank that is not empty.
py::array checked_array(const py::object& value, const char* argument) {
  const auto rank = py::isinstance<py::array>(value) ? py::cast<py::array>(value).ndim() : 0;
  return checked(value, argument, std::vector<int64_t>(static_cast<size_t>(rank), -1));
}

const float* read(const py::array& a) { return static_cast<const float*>(a.data()); }

// Returns the output: an array of the shape of `x`, or a new one.
py::array output_like(const py::array& x, const py::object& value) { return output(value, "out", shape_of(x)); }

void check_same_or_apart(const py::array& out, const py::array& input, const char* argument) {
  if (out.data() != input.data() && overlap(out, input))
    throw py::value_error(std::string("out must be ") + argument + " itself or not overlap it");
}

float* written(const py::array& out) { return static_cast<float*>(const_cast<void*>(out.data())); }

// The rows along the last axis. `x` must have at least one axis.
struct RowsOf {
  int64_t rows, n;
  explicit RowsOf(const py::array& x) {
    if (x.ndim() == 0) throw py::value_error("x must have at least one axis, got shape ()");
    n = x.shape(x.ndim() - 1);
    rows = x.size() / n;
  }
};

FunctionCall make_add(const py::object& a_object, const py::object& b_object,
                      const std::optional<std::string>& activation, const py::object& out_object,
                      const std::optional<std::string>& isa_name, int threads) {
  const py::array a = contiguous_or_copied(checked_array(a_object, "a"));
  const py::array b = contiguous_or_copied(checked(b_object, "b", shape_of(a)));
  const Activation parsed = parse_activation(activation);
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  py::array out = output_like(a, out_object);
  check_same_or_apart(out, a, "a");
  check_same_or_apart(out, b, "b");
  return {out, [=] { add(read(a), read(b), parsed, written(out), a.size(), isa, threads); }};
}

FunctionCall make_activation(const py::object& x_object, const std::string& name, const py::object& out_object,
                             const std::optional<std::string>& isa_name, int threads) {
  const py::array x = contiguous_or_copied(checked_array(x_object, "x"));
  const Activation parsed = parse_activation(name);
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  py::array out = output_like(x, out_object);
  check_same_or_apart(out, x, "x");
  return {out, [=] { add(read(x), nullptr, parsed, written(out), x.size(), isa, threads); }};
}

// Throws ValueError for an input that the operator requires and is None, or that it does not have.
FunctionCall make_row_operator(const std::string& name, const py::object& x_object, const py::object& residual_object,
                               const py::object& gamma_object, const py::object& beta_object, float epsilon,
                               const py::object& out_object, const std::optional<std::string>& isa_name, int threads) {
  const RowOperatorDef& def = find_row_operator(name);
  const py::array x = contiguous_or_copied(checked_array(x_object, "x"));
  const RowsOf shape(x);
  if (!(epsilon >= 0.0f) || std::isinf(epsilon))
    throw py::value_error("eps must be finite and not negative, got " +
                          py::cast<std::string>(py::str(py::cast(epsilon))));
  py::array out = output_like(x, out_object);
  check_same_or_apart(out, x, "x");
  // Returns an input, or an empty array if it is None and optional.
  const auto input = [&](const py::object& value, const char* argument, bool used, bool required,
                         const std::vector<int64_t>& expected) {
    if (!used && !value.is_none()) throw py::value_error(name + " has no " + argument);
    if (value.is_none() && !required) return py::array_t<float>(0).cast<py::array>();
    return contiguous_or_copied(checked(value, argument, expected));
  };
  const py::array gamma = input(gamma_object, "gamma", def.gamma, def.gamma, {shape.n});
  const py::array beta = input(beta_object, "beta", def.beta, def.beta, {shape.n});
  const py::array residual = input(residual_object, "residual", def.residual, false, shape_of(x));
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  for (const auto& [argument, weight] : {std::pair{"gamma", &gamma}, {"beta", &beta}})
    if (weight->size() && overlap(out, *weight)) throw py::value_error(std::string("out must not overlap ") + argument);
  if (residual.size()) check_same_or_apart(out, residual, "residual");
  const auto data = [](const py::array& a) { return a.size() ? read(a) : nullptr; };
  const RowArgs args{read(x), data(residual), data(gamma), data(beta), written(out), shape.rows, shape.n, epsilon};
  // The arrays are captured only to keep them alive.
  return {out,
          [=, op = def.op, arrays = std::array{x, residual, gamma, beta, out}] { run_rows(op, args, isa, threads); }};
}

}  // namespace

void bind_rowwise(py::module_& m) {
  m.def("add", &make_add, py::arg("a"), py::arg("b"), py::arg("activation"), py::arg("out"), py::arg("isa"),
        py::arg("threads"));
  m.def("activation", &make_activation, py::arg("x"), py::arg("name"), py::arg("out"), py::arg("isa"),
        py::arg("threads"));
  m.def("row_operator", &make_row_operator, py::arg("name"), py::arg("x"), py::arg("residual"), py::arg("gamma"),
        py::arg("beta"), py::arg("epsilon"), py::arg("out"), py::arg("isa"), py::arg("threads"));
}

}  // namespace loopwright
