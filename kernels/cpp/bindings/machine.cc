#include "loopwright/machine.h"

#include <pybind11/stl.h>

#include "arguments.h"
#include "module.h"

namespace loopwright {
namespace {

std::vector<std::pair<int, int>> register_tiles(const std::string& isa) {
  const F32Kernels& kernels = f32_kernels(parse_available_isa(isa));
  std::vector<std::pair<int, int>> tiles;
  for (int vectors = 1; vectors <= F32Kernels::kMaxVectors; ++vectors)
    for (int mr = 1; mr <= F32Kernels::kMaxRows; ++mr)
      if (kernels.find(mr, vectors * kernels.lanes)) tiles.emplace_back(mr, vectors * kernels.lanes);
  return tiles;
}

double measured_peak(const std::optional<std::string>& isa, int threads) {
  const Isa parsed = parse_available_isa(isa);
  check_threads(threads);
  const py::gil_scoped_release released;
  return peak_gflops(parsed, threads);
}

double measured_bandwidth(int threads, int64_t working_set_bytes) {
  check_threads(threads);
  if (working_set_bytes < 1) throw py::value_error("working_set_bytes must be at least 1");
  const py::gil_scoped_release released;
  return memory_bandwidth(threads, working_set_bytes);
}

}  // namespace

void bind_machine(py::module_& m) {
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (const Isa isa : available_isas()) names.emplace_back(name(isa));
    return py::tuple(py::cast(names));
  });
  m.def("cpu_name", &cpu_name);
  m.def("cache_bytes", [] { return py::tuple(py::cast(cache_bytes())); });
  m.def("register_tiles", &register_tiles, py::arg("isa"));
  m.def("peak_gflops", &measured_peak, py::arg("isa"), py::arg("threads"));
  m.def("memory_bandwidth", &measured_bandwidth, py::arg("threads"), py::arg("working_set_bytes"));
}

}  // namespace loopwright
