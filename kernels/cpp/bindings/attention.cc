#include "loopwright/attention.h"

#include <pybind11/stl.h>

#include "arguments.h"
#include "module.h"
#include "schedule.h"
#include "timing.h"

namespace loopwright {
namespace {

Attention make_attention(int64_t heads, int64_t head_dim, std::optional<float> scale,
                         const std::optional<std::string>& isa, int threads, const std::optional<py::dict>& schedule,
                         bool or_zero, const MachineModelArgument& machine, const std::string& dtype) {
  if (heads < 1) throw py::value_error("heads must be at least 1, got " + std::to_string(heads));
  if (head_dim < 1) throw py::value_error("head_dim must be at least 1, got " + std::to_string(head_dim));
  std::optional<AttentionSchedule> parsed;
  if (schedule) parsed = parse_attention_schedule(schedule_values(*schedule));
  const Target target = parse_target(isa, machine);
  return Attention(heads, head_dim, scale, target, check_threads(threads), parsed, or_zero,
                   parse_available_dtype(dtype, target));
}

// The arguments of one call, checked, and copied if their last axis is not contiguous.
struct Call {
  py::array q, k, v, mask, out;
  int64_t batch, queries, keys;

  Call(const Attention& op, const py::object& q_object, const py::object& k_object, const py::object& v_object,
       const py::object& mask_object, const py::object& out_object) {
    q = rows_or_copied(checked(q_object, "q", {-1, -1, op.heads(), op.head_dim()}));
    batch = q.shape(0);
    queries = q.shape(1);
    k = rows_or_copied(checked(k_object, "k", {batch, -1, op.heads(), op.head_dim()}));
    keys = k.shape(1);
    v = rows_or_copied(checked(v_object, "v", {batch, keys, op.heads(), op.head_dim()}));
    if (!mask_object.is_none()) mask = rows_or_copied(checked(mask_object, "mask", {batch, op.heads(), queries, keys}));
    out = output(out_object, "out", {batch, queries, op.heads(), op.head_dim()});
    for (const auto& [name, input] : {std::pair{"q", &q}, {"k", &k}, {"v", &v}, {"mask", &mask}})
      if (input->size() && overlap(out, *input)) throw py::value_error(std::string("out must not overlap ") + name);
  }

  void run(const Attention& op) const {
    const AttentionInputs inputs{rows<const float>(q, 1, 2), rows<const float>(k, 1, 2), rows<const float>(v, 1, 2),
                                 mask.size() ? rows<const float>(mask, 2, 1) : Rows<const float>{}};
    op.run(batch, queries, keys, inputs, rows<float>(out, 1, 2));
  }

 private:
  // Whether the last axis is contiguous. The other strides are arbitrary.
  static bool has_runs(const py::array& a) {
    bool whole = reinterpret_cast<uintptr_t>(a.data()) % alignof(float) == 0 &&
                 (a.shape(3) == 1 || a.strides(3) == a.itemsize());
    for (py::ssize_t i = 0; i < 3; ++i) whole = whole && a.strides(i) % a.itemsize() == 0;
    return whole;
  }
  static py::array rows_or_copied(const py::array& a) { return has_runs(a) ? a : contiguous(a); }

  template <class T>
  static Rows<T> rows(const py::array& a, int row_axis, int head_axis) {
    const auto stride = [&](int axis) { return a.strides(axis) / a.itemsize(); };
    return {static_cast<T*>(const_cast<void*>(a.data())), stride(0), stride(row_axis), stride(head_axis)};
  }
};

py::array run_attention(const Attention& op, const py::object& q, const py::object& k, const py::object& v,
                        const py::object& mask, const py::object& out) {
  const Call call(op, q, k, v, mask, out);
  {
    const py::gil_scoped_release released;
    call.run(op);
  }
  return call.out;
}

std::vector<double> time_attention(const Attention& op, const py::object& q, const py::object& k, const py::object& v,
                                   const py::object& mask, const py::object& out, int number, int repeat) {
  const Call call(op, q, k, v, mask, out);
  return time_runs(number, repeat, [&] { call.run(op); });
}

}  // namespace

void bind_attention(py::module_& m) {
  py::class_<Attention>(m, "Attention")
      .def(py::init(&make_attention), py::arg("heads"), py::arg("head_dim"), py::arg("scale"), py::arg("isa"),
           py::arg("threads"), py::arg("schedule"), py::arg("or_zero"), py::arg("machine"), py::arg("dtype"))
      .def("__call__", &run_attention, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("mask"), py::arg("out"))
      .def("time", &time_attention, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("mask"), py::arg("out"),
           py::arg("number"), py::arg("repeat"))
      .def(
          "schedule",
          [](const Attention& op, int64_t batch, int64_t queries, int64_t keys) {
            if (std::min({batch, queries, keys}) < 1)
              throw py::value_error("batch, queries and keys must be at least 1");
            return to_dict(to_values(op.schedule(batch, queries, keys)));
          },
          py::arg("batch"), py::arg("queries"), py::arg("keys"));
}

}  // namespace loopwright
