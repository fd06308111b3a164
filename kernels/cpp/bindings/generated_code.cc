#include "loopwright/generated_code.h"

#include "arguments.h"
#include "module.h"

namespace loopwright {
namespace {

template <class F>
uintptr_t address(F* function) {
  return reinterpret_cast<uintptr_t>(function);
}

template <class F>
F* function_at(uintptr_t address) {
  return reinterpret_cast<F*>(address);
}

}  // namespace

void bind_generated_code(py::module_& m) {
  m.def("generated_code_functions", [] { return py::make_tuple(address(&launch_tasks), address(&wait_for_tasks)); });
  m.def(
      "set_generated_code_threads", [](int threads) { return set_generated_code_threads(threads); },
      py::arg("threads"));
  m.def(
      "set_failure_reasons",
      [](uintptr_t take, uintptr_t put, uintptr_t release) {
        set_failure_reasons(
            {function_at<void(void**)>(take), function_at<void(void*)>(put), function_at<int(void*)>(release)});
      },
      py::arg("take"), py::arg("put"), py::arg("release"));
}

}  // namespace loopwright
