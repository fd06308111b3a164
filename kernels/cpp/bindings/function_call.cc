#include "function_call.h"

#include <pybind11/stl.h>

#include <utility>

#include "module.h"
#include "timing.h"

namespace loopwright {

namespace py = pybind11;

FunctionCall::FunctionCall(py::array out, std::function<void()> run) : out_(std::move(out)), run_(std::move(run)) {}

py::array FunctionCall::run() const {
  {
    const py::gil_scoped_release released;
    run_();
  }
  return out_;
}

std::vector<double> FunctionCall::time(int number, int repeat) const { return time_runs(number, repeat, run_); }

void bind_function_call(py::module_& m) {
  py::class_<FunctionCall>(m, "FunctionCall")
      .def("run", &FunctionCall::run)
      .def("time", &FunctionCall::time, py::arg("number"), py::arg("repeat"));
}

}  // namespace loopwright
