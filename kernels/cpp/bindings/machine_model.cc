#include "loopwright/machine_model.h"

#include <pybind11/stl.h>

#include "arguments.h"
#include "machine/calibration.h"
#include "microkernels/kernel_table.h"
#include "module.h"

namespace loopwright {
namespace {

using Model = std::shared_ptr<const MachineModel>;

Level parse_level(int level) {
  if (level < 0 || level >= kLevels) throw py::value_error("level must be 0 (L1), 1, 2 or 3 (memory)");
  return static_cast<Level>(level);
}

std::pair<Isa, Dtype> kernels_of(const std::string& isa_name, const std::string& dtype_name) {
  const Isa isa = parse_available_isa(isa_name);
  return {isa, parse_available_dtype(dtype_name, isa)};
}

int checked_cores(int cores) {
  if (cores < 1 || cores > 4096)
    throw py::value_error("cores must be between 1 and 4096, got " + std::to_string(cores));
  return cores;
}

Isa parse_vector_isa(const std::string& text) {
  const Isa isa = parse_available_isa(text);
  if (isa == Isa::kReference) throw py::value_error("the reference kernels are not measured");
  return isa;
}

}  // namespace

// Read-only for Python: only const functions are bound.
void bind_machine_model(py::module_& m) {
  py::class_<MachineModel, std::shared_ptr<MachineModel>>(m, "MachineModel")
      .def_static(
          "parse", [](const std::string& text) { return MachineModel::parse(text); }, py::arg("text"))
      .def_static(
          "interpolated", [](int cores) { return MachineModel::interpolated(checked_cores(cores)); }, py::arg("cores"))
      .def_static("host", [] { return std::const_pointer_cast<MachineModel>(host_model()); })
      .def_static("built_in",
                  [] {
                    std::vector<std::shared_ptr<MachineModel>> models;
                    for (const Model& model : built_in_models())
                      models.push_back(std::const_pointer_cast<MachineModel>(model));
                    return models;
                  })
      .def_property_readonly("cpu", [](const MachineModel& model) { return model.cpu; })
      .def_property_readonly("measured",
                             [](const MachineModel& model) { return model.source == MachineModel::Source::kMeasured; })
      .def_property_readonly("cores", [](const MachineModel& model) { return model.cores; })
      .def_property_readonly("ghz", [](const MachineModel& model) { return model.ghz; })
      .def_property_readonly("cache_bytes",
                             [](const MachineModel& model) { return py::tuple(py::cast(model.cache_bytes)); })
      .def(
          "bandwidth_per_thread",
          [](const MachineModel& model, int level, int threads) {
            return model.bandwidth_per_thread(parse_level(level), check_threads(threads));
          },
          py::arg("level"), py::arg("threads"))
      .def("floats_worth_a_thread", &MachineModel::floats_worth_a_thread)
      .def(
          "fork_join_cycles",
          [](const MachineModel& model, int threads) { return model.fork_join_cycles(check_threads(threads)); },
          py::arg("threads"))
      .def(
          "barrier_cycles",
          [](const MachineModel& model, int threads) { return model.barrier_cycles(check_threads(threads)); },
          py::arg("threads"))
      .def(
          "tile_cycles",
          [](const MachineModel& model, const std::string& isa, const std::string& dtype, int rows, int halves,
             double k, int level) {
            if (rows < 1 || rows > KernelCosts::kMaxRows || halves < 1 || halves > KernelCosts::kMaxHalves)
              throw py::value_error("a register tile has 1 to 28 rows and 1 to 8 vectors");
            return model.costs(parse_isa(isa), parse_dtype(dtype)).tile(rows, halves).cycles(k, parse_level(level));
          },
          py::arg("isa"), py::arg("dtype"), py::arg("rows"), py::arg("halves"), py::arg("k"), py::arg("level"))
      .def("id", &MachineModel::id)
      .def("text", &MachineModel::text);
  m.def("cpu_key", &cpu_key);
  const auto table = [](const std::string& isa, const std::string& dtype) -> const KernelTable& {
    const auto [of_isa, of_dtype] = kernels_of(isa, dtype);
    return kernel_table(of_isa, of_dtype);
  };
  m.def(
      "lanes", [table](const std::string& isa, const std::string& dtype) { return table(isa, dtype).lanes; },
      py::arg("isa"), py::arg("dtype"));
  m.def(
      "tile_k", [table](const std::string& isa, const std::string& dtype) { return table(isa, dtype).tile_k; },
      py::arg("isa"), py::arg("dtype"));
  m.def("host_model_file", &host_model_file);
  m.def("host_model_error", &host_model_error);
  m.def(
      "has_half_tile",
      [](const std::string& isa, const std::string& dtype, int rows, int vectors) {
        const auto [of_isa, of_dtype] = kernels_of(isa, dtype);
        if (rows < 1 || rows > KernelTable::kMaxRows || vectors < 1 || vectors > KernelTable::kMaxVectors) return false;
        return kernel_table(of_isa, of_dtype).half_tiles[rows][vectors] != nullptr;
      },
      py::arg("isa"), py::arg("dtype"), py::arg("rows"), py::arg("vectors"));
  m.def("clock_ghz", &clock_ghz, py::call_guard<py::gil_scoped_release>());
  m.def(
      "tile_secs",
      [](const std::string& isa, const std::string& dtype, int rows, int halves, int64_t k, int level, int prefetch,
         int series) {
        const auto [of_isa, of_dtype] = kernels_of(isa, dtype);
        if (k < 1 || k > (1 << 16) || prefetch < 0 || prefetch > (1 << 20) || series < 1 || series > 64)
          throw py::value_error("k must be 1 to 65536, prefetch_bytes 0 to 1048576, series 1 to 64");
        if (series > 1 && prefetch > 0) throw py::value_error("tiles of a series do not prefetch into L1");
        return tile_secs(of_isa, of_dtype, rows, halves, k, parse_level(level), prefetch, series);
      },
      py::arg("isa"), py::arg("dtype"), py::arg("rows"), py::arg("halves"), py::arg("k"), py::arg("level"),
      py::arg("prefetch_bytes"), py::arg("series"));
  m.def(
      "transform_secs",
      [](const std::string& isa, int which, int vectors) {
        if (which < 0 || which > 2 || vectors < 1 || vectors > KernelTable::kMaxVectors)
          throw py::value_error("which must be 0, 1 or 2, and vectors 1 to 8");
        return transform_secs(parse_vector_isa(isa), which, vectors);
      },
      py::arg("isa"), py::arg("which"), py::arg("vectors"));
  m.def(
      "strassen_sum_secs", [](const std::string& isa) { return strassen_sum_secs(parse_vector_isa(isa)); },
      py::arg("isa"));
  m.def("cell_secs", [](const std::string& isa) { return cell_secs(parse_vector_isa(isa)); }, py::arg("isa"));
  m.def("fork_join_secs", [](int threads) { return fork_join_secs(check_threads(threads)); }, py::arg("threads"));
  m.def("barrier_secs", [](int threads) { return barrier_secs(check_threads(threads)); }, py::arg("threads"));
}

}  // namespace loopwright
