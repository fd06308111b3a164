#include "loopwright/dense.h"

#include <pybind11/stl.h>

#include "arguments.h"
#include "dense_call.h"
#include "module.h"
#include "packed_layer.h"
#include "schedule.h"

namespace loopwright {
namespace {

Dense make_dense(const py::object& weight_object, const py::object& bias_object,
                 const std::optional<std::string>& activation, const py::object& slopes, const py::object& quantization,
                 const std::optional<std::string>& isa, int threads, const std::optional<py::dict>& schedule,
                 const MachineModelArgument& machine) {
  py::array weight = checked(weight_object, "weight", {-1, -1}, kWeightDtypes);
  if (!has_rows(weight)) weight = contiguous(weight);
  const EpilogueArrays arrays(bias_object, activation, slopes, weight.shape(0), quantization);
  std::optional<DenseSchedule> parsed;
  if (schedule) parsed = parse_dense_schedule(schedule_values(*schedule));
  return Dense(as_matrix(weight), weight.shape(0), weight.shape(1), arrays.epilogue(), parse_target(isa, machine),
               check_threads(threads), parsed);
}

}  // namespace

void bind_dense(py::module_& m) {
  m.def(
      "default_dense_schedule",
      [](int64_t rows, int64_t n, int64_t k, const std::string& isa_name, int threads, const std::string& dtype_name,
         bool fast, const MachineModelArgument& machine) {
        const Target target = parse_target(isa_name, machine);
        const Dtype dtype = parse_available_dtype(dtype_name, target);
        check_threads(threads);
        if (rows < 1 || n < 1 || k < 1) throw py::value_error("m, n and k must be at least 1");
        return to_dict(to_values(default_dense_schedule(target, dtype, rows, n, k, threads, fast)));
      },
      py::arg("m"), py::arg("n"), py::arg("k"), py::arg("isa"), py::arg("threads"), py::arg("dtype"), py::arg("fast"),
      py::arg("machine"));
  py::class_<Dense> layer(m, "Dense");
  bind_calls<DenseCall<Dense>>(layer);
  layer
      .def(py::init(&make_dense), py::arg("weight"), py::arg("bias"), py::arg("activation"), py::arg("slopes"),
           py::arg("quantization"), py::arg("isa"), py::arg("threads"), py::arg("schedule"), py::arg("machine"))
      .def(
          "schedule",
          [](const Dense& dense, int64_t rows) {
            if (rows < 1) throw py::value_error("m must be at least 1, got " + std::to_string(rows));
            return to_dict(to_values(dense.schedule(rows)));
          },
          py::arg("m"));
}

}  // namespace loopwright
