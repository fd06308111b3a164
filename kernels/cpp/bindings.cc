// The Python face of the kernels: arguments are checked here, before anything is computed, and the GIL is released while
// a kernel runs.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "loopwright/dense.h"
#include "loopwright/machine.h"

namespace py = pybind11;
using namespace loopwright;

namespace {

const std::map<std::string, Activation> kActivations = {
    {"relu", Activation::kRelu}, {"relu6", Activation::kRelu6}, {"gelu", Activation::kGelu},
    {"sigmoid", Activation::kSigmoid}, {"tanh", Activation::kTanh}, {"silu", Activation::kSilu},
    {"hard_swish", Activation::kHardSwish}};

Activation parse_activation(const std::optional<std::string>& text) {
  if (!text || *text == "none") return Activation::kNone;
  const auto found = kActivations.find(*text);
  if (found != kActivations.end()) return found->second;
  std::string known = "none";
  for (const auto& entry : kActivations) known += ", " + entry.first;
  throw std::invalid_argument("unknown activation '" + *text + "'; choose from: " + known);
}

Isa parse_available_isa(const std::optional<std::string>& text) {
  const auto& available = available_isas();
  if (!text) return available.front();
  const Isa isa = parse_isa(*text);
  if (std::find(available.begin(), available.end(), isa) != available.end()) return isa;
  std::string names;
  for (const Isa a : available) names += (names.empty() ? "" : ", ") + std::string(name(a));
  throw std::invalid_argument("this CPU has no " + *text + "; it has: " + names);
}

int check_threads(int threads) {
  if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be between 1 and 1024, got " + std::to_string(threads));
  return threads;
}

std::string shape_of(const py::array& a) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < a.ndim(); ++i) text += (i ? ", " : "") + std::to_string(a.shape(i));
  return text + (a.ndim() == 1 ? ",)" : ")");
}

// An array of float32 with `shape`, where -1 stands for any size of 1 or more.
py::array checked(const py::handle& value, const char* argument, const std::vector<int64_t>& shape) {
  if (!py::isinstance<py::array>(value))
    throw py::type_error(std::string(argument) + " must be a numpy array, got " + py::cast<std::string>(py::type::of(value).attr("__name__")));
  auto a = py::reinterpret_borrow<py::array>(value);
  if (!a.dtype().is(py::dtype::of<float>()))
    throw py::type_error(std::string(argument) + " must be float32, got " + py::cast<std::string>(py::str(a.dtype())));
  bool fits = a.ndim() == static_cast<py::ssize_t>(shape.size());
  std::string expected = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    fits = fits && (shape[i] == -1 ? a.shape(static_cast<py::ssize_t>(i)) >= 1 : a.shape(static_cast<py::ssize_t>(i)) == shape[i]);
    expected += (i ? ", " : "") + (shape[i] == -1 ? std::string(">=1") : std::to_string(shape[i]));
  }
  expected += shape.size() == 1 ? ",)" : ")";
  if (!fits) throw py::value_error(std::string(argument) + " must have shape " + expected + ", got " + shape_of(a));
  return a;
}

constexpr py::ssize_t kFloat = sizeof(float);

bool aligned(const py::array& a) { return reinterpret_cast<uintptr_t>(a.data()) % alignof(float) == 0; }

// Whether the rows of a matrix are runs of floats that follow each other upwards.
bool has_rows(const py::array& a) {
  return aligned(a) && (a.shape(1) == 1 || a.strides(1) == kFloat) && a.strides(0) % kFloat == 0 &&
         (a.shape(0) == 1 || a.strides(0) >= a.shape(1) * kFloat);
}

int64_t row_stride(const py::array& a) { return a.shape(0) == 1 ? a.shape(1) : a.strides(0) / kFloat; }

// A copy, since an array can be contiguous and misaligned.
py::array contiguous(const py::array& a) { return a.attr("copy")("C"); }

bool overlap(const py::array& a, const py::array& b) {
  const auto end = [](const py::array& v) {
    return static_cast<const char*>(v.data()) + ((v.shape(0) - 1) * row_stride(v) + v.shape(1)) * kFloat;
  };
  return static_cast<const char*>(a.data()) < end(b) && static_cast<const char*>(b.data()) < end(a);
}

DenseSchedule parse_schedule(const py::dict& values) {
  DenseSchedule s;
  const auto integer = [&](const char* key) {
    if (!values.contains(key)) throw std::invalid_argument(std::string("schedule lacks '") + key + "'");
    try {
      return py::cast<int64_t>(values[key]);
    } catch (const py::cast_error&) {
      throw std::invalid_argument(std::string("schedule: ") + key + " must be an integer, got " +
                                  py::cast<std::string>(py::repr(values[key])));
    }
  };
  const auto small = [&](const char* key) { return static_cast<int>(std::clamp<int64_t>(integer(key), -1, 1 << 30)); };
  s.mr = small("mr");
  s.nr = small("nr");
  s.mc = integer("mc");
  s.kc = integer("kc");
  s.nc = integer("nc");
  s.pack_a = integer("pack_a") != 0;
  s.prefetch = small("prefetch");
  s.prefetch_next = integer("prefetch_next") != 0;
  s.threads_m = small("threads_m");
  const std::string order = values.contains("order") ? py::cast<std::string>(py::str(values["order"])) : "";
  if (order != "m_inner" && order != "n_inner")
    throw std::invalid_argument("schedule: order must be 'm_inner' or 'n_inner', got '" + order + "'");
  s.order = order == "m_inner" ? DenseSchedule::Order::kMInner : DenseSchedule::Order::kNInner;
  return s;
}

py::dict to_dict(const DenseSchedule& s) {
  py::dict values;
  values["mr"] = s.mr;
  values["nr"] = s.nr;
  values["mc"] = s.mc;
  values["kc"] = s.kc;
  values["nc"] = s.nc;
  values["order"] = s.order == DenseSchedule::Order::kMInner ? "m_inner" : "n_inner";
  values["pack_a"] = s.pack_a;
  values["prefetch"] = s.prefetch;
  values["prefetch_next"] = s.prefetch_next;
  values["threads_m"] = s.threads_m;
  return values;
}

Dense make_dense(const py::object& weight_object, const py::object& bias_object, const std::optional<std::string>& activation,
                 const std::optional<std::string>& isa, int threads, const std::optional<py::dict>& schedule) {
  py::array weight = checked(weight_object, "weight", {-1, -1});
  if (!has_rows(weight)) weight = contiguous(weight);
  py::array bias;
  if (!bias_object.is_none()) bias = contiguous(checked(bias_object, "bias", {weight.shape(0)}));
  std::optional<DenseSchedule> parsed;
  if (schedule) parsed = parse_schedule(*schedule);
  return Dense(static_cast<const float*>(weight.data()), row_stride(weight), weight.shape(0), weight.shape(1),
               bias_object.is_none() ? nullptr : static_cast<const float*>(bias.data()), parse_activation(activation),
               parse_available_isa(isa), check_threads(threads), parsed);
}

// The arguments of one call, checked and, where rows are not contiguous, copied.
struct Call {
  py::array x, out, residual;
  Dense::Matrix out_matrix{}, residual_matrix{};

  Call(const Dense& dense, const py::object& x_object, const py::object& out_object, const py::object& residual_object) {
    x = checked(x_object, "x", {-1, dense.k()});
    if (!has_rows(x)) x = contiguous(x);
    const int64_t m = x.shape(0);
    if (out_object.is_none()) {
      out = py::array_t<float>({m, dense.n()});
    } else {
      out = checked(out_object, "out", {m, dense.n()});
      if (!out.writeable()) throw py::value_error("out must be writable");
      if (!has_rows(out)) throw py::value_error("out must have contiguous rows that do not overlap");
      if (overlap(out, x)) throw py::value_error("out must not overlap x");
    }
    out_matrix = {static_cast<float*>(out.mutable_data()), row_stride(out)};
    if (residual_object.is_none()) return;
    residual = checked(residual_object, "residual", {m, dense.n()});
    if (!has_rows(residual)) residual = contiguous(residual);
    const bool same = residual.data() == out.data() && row_stride(residual) == row_stride(out);
    if (!same && overlap(residual, out)) throw py::value_error("residual must be out itself or not overlap it");
    residual_matrix = {const_cast<float*>(static_cast<const float*>(residual.data())), row_stride(residual)};
  }

  void run(const Dense& dense) const {
    dense.run(static_cast<const float*>(x.data()), row_stride(x), x.shape(0), out_matrix, residual_matrix);
  }
};

py::array run_dense(const Dense& dense, const py::object& x, const py::object& out, const py::object& residual) {
  const Call call(dense, x, out, residual);
  {
    const py::gil_scoped_release released;
    call.run(dense);
  }
  return call.out;
}

std::vector<double> time_dense(const Dense& dense, const py::object& x, const py::object& out, const py::object& residual,
                               int number, int repeat) {
  if (number < 1 || repeat < 1) throw py::value_error("number and repeat must be at least 1");
  const Call call(dense, x, out, residual);
  std::vector<double> samples;
  const py::gil_scoped_release released;
  for (int r = 0; r < repeat; ++r) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < number; ++i) call.run(dense);
    samples.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / number);
  }
  return samples;
}

std::vector<std::pair<int, int>> register_tiles(const std::string& isa) {
  const F32Kernels& kernels = f32_kernels(parse_available_isa(isa));
  std::vector<std::pair<int, int>> tiles;
  for (int vectors = 1; vectors <= F32Kernels::kMaxVectors; ++vectors)
    for (int mr = 1; mr <= F32Kernels::kMaxRows; ++mr)
      if (kernels.find(mr, vectors * kernels.lanes)) tiles.emplace_back(mr, vectors * kernels.lanes);
  return tiles;
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const std::bad_alloc&) {
      PyErr_SetString(PyExc_MemoryError, "not enough memory for the packed weights");
    }
  });
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (const Isa isa : available_isas()) names.emplace_back(name(isa));
    return py::tuple(py::cast(names));
  });
  m.def("cpu_name", &cpu_name);
  m.def("cache_bytes", [] { return py::tuple(py::cast(cache_bytes())); });
  m.def("register_tiles", &register_tiles, py::arg("isa"));
  m.def(
      "peak_gflops",
      [](const std::optional<std::string>& isa, int threads) {
        const Isa parsed = parse_available_isa(isa);
        check_threads(threads);
        const py::gil_scoped_release released;
        return peak_gflops(parsed, threads);
      },
      py::arg("isa"), py::arg("threads"));
  m.def(
      "memory_bandwidth",
      [](int threads, int64_t working_set_bytes) {
        check_threads(threads);
        if (working_set_bytes < 1) throw py::value_error("working_set_bytes must be at least 1");
        const py::gil_scoped_release released;
        return memory_bandwidth(threads, working_set_bytes);
      },
      py::arg("threads"), py::arg("working_set_bytes"));
  m.def(
      "default_dense_schedule",
      [](int64_t rows, int64_t n, int64_t k, const std::string& isa, int threads) {
        return to_dict(default_dense_schedule(parse_available_isa(isa), rows, n, k, check_threads(threads)));
      },
      py::arg("m"), py::arg("n"), py::arg("k"), py::arg("isa"), py::arg("threads"));
  py::class_<Dense>(m, "Dense")
      .def(py::init(&make_dense), py::arg("weight"), py::arg("bias"), py::arg("activation"), py::arg("isa"),
           py::arg("threads"), py::arg("schedule"))
      .def("__call__", &run_dense, py::arg("x"), py::arg("out"), py::arg("residual"))
      .def("time", &time_dense, py::arg("x"), py::arg("out"), py::arg("residual"), py::arg("number"), py::arg("repeat"))
      .def("schedule", [](const Dense& dense, int64_t rows) { return to_dict(dense.schedule(rows)); }, py::arg("m"));
}
