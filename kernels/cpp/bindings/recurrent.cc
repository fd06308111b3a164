#include "loopwright/recurrent.h"

#include <pybind11/stl.h>

#include <tuple>

#include "arguments.h"
#include "module.h"
#include "timing.h"

namespace loopwright {
namespace {

const float* read(const py::array& a) { return a.size() ? static_cast<const float*>(a.data()) : nullptr; }
float* written(const py::array& a) { return static_cast<float*>(const_cast<void*>(a.data())); }

// Returns the value as a contiguous array, or an empty one for None.
py::array optional(const py::object& value, const char* argument, const std::vector<int64_t>& shape) {
  return value.is_none() ? py::array_t<float>(0) : contiguous_or_copied(checked(value, argument, shape));
}

class RecurrentLayer {
 public:
  RecurrentLayer(const std::string& cell_name, const py::object& w_object, const py::object& r_object,
                 const py::object& b_object, const py::object& p_object, const std::vector<bool>& reverse,
                 const std::vector<std::tuple<std::string, float, float>>& activations, float clip, bool input_forget,
                 bool linear_before_reset, bool batch_first, const std::optional<std::string>& isa, int threads)
      : op_(make(parse_cell(cell_name), w_object, r_object, b_object, p_object, reverse, activations, clip,
                 input_forget, linear_before_reset, isa, threads)),
        batch_first_(batch_first) {}

  // A call's arrays, checked.
  struct Call {
    py::array x, lengths, initial_h, initial_c, y, y_h, y_c;
    RecurrentArgs args;
  };

  Call call(const py::object& x_object, const py::object& lengths, const py::object& initial_h,
            const py::object& initial_c, const py::object& out) const {
    const int64_t d = op_.directions(), units = op_.units();
    Call c;
    c.x = contiguous_or_copied(checked(x_object, "x", {-1, -1, op_.inputs()}));
    const int64_t steps = c.x.shape(batch_first_ ? 1 : 0), batch = c.x.shape(batch_first_ ? 0 : 1);
    const std::vector<int64_t> state = batch_first_ ? std::vector{batch, d, units} : std::vector{d, batch, units};
    c.initial_h = optional(initial_h, "initial_h", state);
    c.initial_c = optional(initial_c, "initial_c", state);
    if (c.initial_c.size() && op_.cell() != Cell::kLstm) throw py::value_error("initial_c is for lstm only");
    c.y = output(out, "out", batch_first_ ? std::vector{batch, steps, d, units} : std::vector{steps, d, batch, units});
    for (const auto& [name, input] : {std::pair{"x", &c.x}, {"initial_h", &c.initial_h}, {"initial_c", &c.initial_c}})
      if (input->size() && overlap(c.y, *input)) throw py::value_error(std::string("out must not overlap ") + name);
    c.y_h = py::array_t<float>(state);
    c.y_c = py::array_t<float>(op_.cell() == Cell::kLstm ? state : std::vector<int64_t>{0});
    c.args = {steps, batch, batch_first_, read(c.x)};
    if (!lengths.is_none()) {
      const auto given = py::cast<py::array_t<int32_t, py::array::c_style>>(lengths);
      if (given.ndim() != 1 || given.size() != batch)
        throw py::value_error("sequence_lens must have shape (" + std::to_string(batch) + ",)");
      c.lengths = given;
      c.args.lengths = given.data();
    }
    c.args.initial_h = read(c.initial_h);
    c.args.initial_c = read(c.initial_c);
    c.args.y = written(c.y);
    c.args.y_h = written(c.y_h);
    c.args.y_c = c.y_c.size() ? written(c.y_c) : nullptr;
    return c;
  }

  py::tuple run(const py::object& x, const py::object& lengths, const py::object& initial_h,
                const py::object& initial_c, const py::object& out) const {
    const Call c = call(x, lengths, initial_h, initial_c, out);
    {
      const py::gil_scoped_release released;
      op_.run(c.args);
    }
    if (op_.cell() == Cell::kLstm) return py::make_tuple(c.y, c.y_h, c.y_c);
    return py::make_tuple(c.y, c.y_h);
  }

  std::vector<double> time(const py::object& x, const py::object& lengths, const py::object& initial_h,
                           const py::object& initial_c, const py::object& out, int number, int repeat) const {
    const Call c = call(x, lengths, initial_h, initial_c, out);
    return time_runs(number, repeat, [&] { op_.run(c.args); });
  }

 private:
  static Recurrent make(Cell cell, const py::object& w_object, const py::object& r_object, const py::object& b_object,
                        const py::object& p_object, const std::vector<bool>& reverse,
                        const std::vector<std::tuple<std::string, float, float>>& activations, float clip,
                        bool input_forget, bool linear_before_reset, const std::optional<std::string>& isa,
                        int threads) {
    const auto d = static_cast<int64_t>(reverse.size());
    const int gates = gates_of(cell);
    const py::array r = contiguous_or_copied(checked(r_object, "r", {d, -1, -1}));
    const int64_t units = r.shape(2);
    if (r.shape(1) != gates * units)
      throw py::value_error("r must have shape (directions, " + std::to_string(gates) + " * units, units)");
    const py::array w = contiguous_or_copied(checked(w_object, "w", {d, gates * units, -1}));
    const py::array b = optional(b_object, "b", {d, 2 * gates * units});
    const py::array p = optional(p_object, "p", {d, 3 * units});
    RecurrentOptions options{cell, reverse, {}, clip, input_forget, linear_before_reset};
    for (const auto& [name, alpha, beta] : activations)
      options.activations.push_back({parse_gate_function(name), alpha, beta});
    return Recurrent(options, {read(w), read(r), read(b), read(p)}, w.shape(2), units, parse_available_isa(isa),
                     check_threads(threads));
  }

  Recurrent op_;
  bool batch_first_;
};

}  // namespace

void bind_recurrent(py::module_& m) {
  py::class_<RecurrentLayer>(m, "Recurrent")
      .def(py::init<const std::string&, const py::object&, const py::object&, const py::object&, const py::object&,
                    const std::vector<bool>&, const std::vector<std::tuple<std::string, float, float>>&, float, bool,
                    bool, bool, const std::optional<std::string>&, int>(),
           py::arg("cell"), py::arg("w"), py::arg("r"), py::arg("b"), py::arg("p"), py::arg("reverse"),
           py::arg("activations"), py::arg("clip"), py::arg("input_forget"), py::arg("linear_before_reset"),
           py::arg("batch_first"), py::arg("isa"), py::arg("threads"))
      .def("__call__", &RecurrentLayer::run, py::arg("x"), py::arg("sequence_lens"), py::arg("initial_h"),
           py::arg("initial_c"), py::arg("out"))
      .def("time", &RecurrentLayer::time, py::arg("x"), py::arg("sequence_lens"), py::arg("initial_h"),
           py::arg("initial_c"), py::arg("out"), py::arg("number"), py::arg("repeat"));
}

}  // namespace loopwright
