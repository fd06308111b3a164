#include <pybind11/stl.h>

#include <array>
#include <cmath>

#include "arguments.h"
#include "function_call.h"
#include "loopwright/group_norm.h"
#include "module.h"

namespace loopwright {
namespace {

const float* read(const py::array& a) { return static_cast<const float*>(a.data()); }

FunctionCall make_group_norm(const py::object& x_object, const py::object& gamma_object, const py::object& beta_object,
                             int64_t groups, float epsilon, const py::object& out_object,
                             const std::optional<std::string>& isa_name, int threads) {
  const py::array x = contiguous_or_copied(checked(x_object, "x", {-1, -1, -1, -1}));
  const int64_t c = x.shape(3);
  if (groups < 1 || c % groups)
    throw py::value_error("groups must divide the " + std::to_string(c) + " channels, got " + std::to_string(groups));
  if (!(epsilon >= 0.0f) || std::isinf(epsilon))
    throw py::value_error("eps must be finite and not negative, got " +
                          py::cast<std::string>(py::str(py::cast(epsilon))));
  const py::array gamma = contiguous_or_copied(checked(gamma_object, "gamma", {c}));
  const py::array beta = contiguous_or_copied(checked(beta_object, "beta", {c}));
  const Isa isa = parse_available_isa(isa_name);
  check_threads(threads);
  py::array out = output(out_object, "out", {x.shape(0), x.shape(1), x.shape(2), c});
  if (out.data() != x.data() && overlap(out, x)) throw py::value_error("out must be x itself or not overlap it");
  for (const auto& [name, weight] : {std::pair{"gamma", &gamma}, {"beta", &beta}})
    if (overlap(out, *weight)) throw py::value_error(std::string("out must not overlap ") + name);
  float* written = static_cast<float*>(const_cast<void*>(out.data()));
  const GroupNormArgs args{read(x), read(gamma), read(beta), written, x.shape(0), x.shape(1) * x.shape(2),
                           c,       groups,      epsilon};
  // The arrays are captured only to keep them alive.
  return {out, [=, arrays = std::array{x, gamma, beta, out}] { group_norm(args, isa, threads); }};
}

}  // namespace

void bind_normalization(py::module_& m) {
  m.def("group_norm", &make_group_norm, py::arg("x"), py::arg("gamma"), py::arg("beta"), py::arg("groups"),
        py::arg("epsilon"), py::arg("out"), py::arg("isa"), py::arg("threads"));
}

}  // namespace loopwright
