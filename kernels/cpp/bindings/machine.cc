#include "loopwright/machine.h"

#include <pybind11/stl.h>

#include <utility>
#include <vector>

#include "arguments.h"
#include "loopwright/thread_split.h"
#include "module.h"

namespace loopwright {
namespace {

double measured_peak(const std::optional<std::string>& isa_name, int threads, const std::string& dtype_name) {
  const Isa isa = parse_available_isa(isa_name);
  const Dtype dtype = parse_available_dtype(dtype_name, isa);
  check_threads(threads);
  const py::gil_scoped_release released;
  return peak_gflops(isa, dtype, threads);
}

double measured_bandwidth(int threads, int64_t working_set_bytes) {
  check_threads(threads);
  if (working_set_bytes < 1) throw py::value_error("working_set_bytes must be at least 1");
  const py::gil_scoped_release released;
  return memory_bandwidth(threads, working_set_bytes);
}

void distribute_array(py::array& a, int threads) {
  check_threads(threads);
  if (!(a.flags() & py::array::c_style)) throw py::value_error("array must be contiguous");
  void* data = a.mutable_data();  // throws where it is read-only
  const py::gil_scoped_release released;
  distribute(data, a.nbytes(), threads);
}

void evict_array(const py::array& a, int threads) {
  if (!(a.flags() & py::array::c_style)) throw py::value_error("array must be contiguous");
  check_threads(threads);
  const py::gil_scoped_release released;
  evict(a.data(), a.nbytes(), threads);
}

}  // namespace

void bind_machine(py::module_& m) {
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (const Isa isa : available_isas()) names.emplace_back(name(isa));
    return py::tuple(py::cast(names));
  });
  m.def(
      "available_dtypes",
      [](const std::optional<std::string>& isa) {
        std::vector<std::string> names;
        for (const Dtype dtype : available_dtypes(parse_available_isa(isa))) names.emplace_back(name(dtype));
        return py::tuple(py::cast(names));
      },
      py::arg("isa"));
  m.def(
      "multiplies_bfloat16",
      [](const std::optional<std::string>& isa) {
        return parse_available_isa(isa) == Isa::kAvx512 && cpu_has_avx512_bf16();
      },
      py::arg("isa"));
  m.def("cpu_name", &cpu_name);
  m.def("cache_bytes", [] { return py::tuple(py::cast(cache_bytes())); });
  m.def(
      "register_tiles",
      [](const std::string& isa_name, const std::string& dtype) {
        const Isa isa = parse_available_isa(isa_name);
        return register_tiles(isa, parse_available_dtype(dtype, isa));
      },
      py::arg("isa"), py::arg("dtype"));
  m.def(
      "narrow_tiles",
      [](const std::string& isa_name, const std::string& dtype) {
        const Isa isa = parse_available_isa(isa_name);
        return narrow_tiles(isa, parse_available_dtype(dtype, isa));
      },
      py::arg("isa"), py::arg("dtype"));
  m.def(
      "thread_splits",
      [](int threads) {
        std::vector<std::pair<int, int>> splits;
        for_each_thread_split(check_threads(threads),
                              [&](const ThreadSplit& split) { splits.emplace_back(split.m, split.n); });
        return splits;
      },
      py::arg("threads"));
  m.def("peak_gflops", &measured_peak, py::arg("isa"), py::arg("threads"), py::arg("dtype"));
  m.def("distribute", &distribute_array, py::arg("array"), py::arg("threads"));
  m.def("evict", &evict_array, py::arg("array"), py::arg("threads"));
  m.def("memory_bandwidth", &measured_bandwidth, py::arg("threads"), py::arg("working_set_bytes"));
}

}  // namespace loopwright
