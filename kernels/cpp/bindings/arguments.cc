#include "arguments.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>
#include <tuple>

namespace loopwright {
namespace {

std::string shape_of(const py::array& a) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < a.ndim(); ++i) text += (i ? ", " : "") + std::to_string(a.shape(i));
  return text + (a.ndim() == 1 ? ",)" : ")");
}

bool aligned(const py::array& a) { return reinterpret_cast<uintptr_t>(a.data()) % a.itemsize() == 0; }

bool has_dtype(const py::array& a, Dtype dtype) {
  // Not the same object: a copy that pickle made is equal to it.
  if (dtype == Dtype::kFloat32) return a.dtype().equal(py::dtype::of<float>());
  return a.itemsize() == element_bytes(dtype) && py::cast<std::string>(py::str(a.dtype())) == name(dtype);
}

using GivenQuantization = std::tuple<py::object, std::optional<IntegersOf>, bool, std::optional<IntegersOf>,
                                     std::optional<IntegersOf>, std::optional<IntegersOf>>;

GivenQuantization quantization_of(const py::object& given) {
  try {
    return py::cast<GivenQuantization>(given);
  } catch (const py::cast_error&) {
    throw py::type_error(
        "quantization must have integers of (dtype, scale, zero point), a text, a number and an integer");
  }
}

bool is_contiguous(const py::array& a) { return (a.flags() & py::array::c_style) != 0 && aligned(a); }

}  // namespace

Isa parse_available_isa(const std::optional<std::string>& text) {
  const auto& available = available_isas();
  if (!text) return available.front();
  const Isa isa = parse_isa(*text);
  if (std::find(available.begin(), available.end(), isa) != available.end()) return isa;
  std::string names;
  for (const Isa a : available) names += (names.empty() ? "" : ", ") + std::string(name(a));
  throw std::invalid_argument("this CPU has no " + *text + "; it has: " + names);
}

Target parse_target(const std::optional<std::string>& isa, const MachineModelArgument& machine) {
  const Isa parsed = parse_available_isa(isa);
  return machine ? Target(parsed, machine) : Target(parsed);
}

int check_threads(int threads) {
  if (threads < 1 || threads > 1024)
    throw std::invalid_argument("threads must be between 1 and 1024, got " + std::to_string(threads));
  return threads;
}

Dtype parse_available_dtype(const std::string& text, Isa isa) {
  const Dtype dtype = parse_dtype(text);
  check_dtype(dtype, isa);
  return dtype;
}

Pair at_least(const char* argument, const Pair& values, int64_t least) {
  const auto check = [&](bool ok, const char* bound, int64_t limit) {
    if (!ok)
      throw py::value_error(std::string(argument) + " must be " + bound + " " + std::to_string(limit) + ", got (" +
                            std::to_string(values.first) + ", " + std::to_string(values.second) + ")");
  };
  constexpr int64_t kMost = INT32_MAX;  // sums and products of sizes do not overflow
  check(std::min(values.first, values.second) >= least, "at least", least);
  check(std::max(values.first, values.second) <= kMost, "at most", kMost);
  return values;
}

py::array checked(const py::handle& value, const char* argument, const std::vector<int64_t>& shape,
                  const std::vector<Dtype>& dtypes) {
  if (!py::isinstance<py::array>(value))
    throw py::type_error(std::string(argument) + " must be a numpy array, got " +
                         py::cast<std::string>(py::type::of(value).attr("__name__")));
  auto a = py::reinterpret_borrow<py::array>(value);
  if (std::none_of(dtypes.begin(), dtypes.end(), [&](Dtype dtype) { return has_dtype(a, dtype); })) {
    std::string known;
    for (const Dtype dtype : dtypes) known += (known.empty() ? "" : " or ") + std::string(name(dtype));
    throw py::type_error(std::string(argument) + " must be " + known + ", got " +
                         py::cast<std::string>(py::str(a.dtype())));
  }
  bool fits = a.ndim() == static_cast<py::ssize_t>(shape.size());
  std::string expected = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    fits = fits && (shape[i] == -1 ? a.shape(static_cast<py::ssize_t>(i)) >= 1
                                   : a.shape(static_cast<py::ssize_t>(i)) == shape[i]);
    expected += (i ? ", " : "") + (shape[i] == -1 ? std::string(">=1") : std::to_string(shape[i]));
  }
  expected += shape.size() == 1 ? ",)" : ")";
  if (!fits) throw py::value_error(std::string(argument) + " must have shape " + expected + ", got " + shape_of(a));
  return a;
}

std::vector<Dtype> or_float32(Dtype dtype) {
  if (dtype == Dtype::kFloat32) return {dtype};
  return {dtype, Dtype::kFloat32};
}

Dtype dtype_of(const py::array& a) {
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kInt8, Dtype::kUint8})
    if (has_dtype(a, dtype)) return dtype;
  return Dtype::kBfloat16;
}

py::dtype numpy_dtype(Dtype dtype) {
  // numpy has bfloat16 only with the package of the arrays of it.
  if (dtype == Dtype::kBfloat16) return py::dtype::from_args(py::module_::import("ml_dtypes").attr("bfloat16"));
  return py::dtype(name(dtype));
}

Quantization parse_quantization(const IntegersOf& given) {
  const auto& [dtype, scale, zero_point] = given;
  return {parse_integers(dtype), scale, zero_point};
}

EpilogueArrays::EpilogueArrays(const py::object& bias_object, const std::optional<std::string>& activation_name,
                               const py::object& slopes_object, py::ssize_t channels,
                               const py::object& quantization_object)
    : activation(parse_activation(activation_name)) {
  if (!bias_object.is_none()) bias = contiguous(checked(bias_object, "bias", {channels}));
  if (!slopes_object.is_none()) slopes = contiguous(checked(slopes_object, "slopes", {channels}));
  if (quantization_object.is_none()) return;
  const auto [of_weight, x, floats, out, residual, sum] = quantization_of(quantization_object);
  scales = contiguous(checked(of_weight, "the scales of the weight", {channels}));
  quantization.weight_scales = static_cast<const float*>(scales.data());
  using Input = LayerQuantization::Input;
  quantization.input = !x ? Input::kFloatsByRange : floats ? Input::kFloats : Input::kIntegers;
  if (x) quantization.x = parse_quantization(*x);
  if (out) quantization.out = parse_quantization(*out);
  if (residual) quantization.residual = parse_quantization(*residual);
  if (sum) quantization.sum = parse_quantization(*sum);
}

LayerEpilogue EpilogueArrays::epilogue() const {
  const auto floats = [](const py::array& a) { return a.size() ? static_cast<const float*>(a.data()) : nullptr; };
  return {floats(bias), activation, floats(slopes), quantization};
}

bool has_rows(const py::array& a) {
  const py::ssize_t size = a.itemsize();
  return aligned(a) && (a.shape(1) == 1 || a.strides(1) == size) && a.strides(0) % size == 0 &&
         (a.shape(0) == 1 || a.strides(0) >= a.shape(1) * size);
}

Matrix as_matrix(const py::array& a) {
  const int64_t stride = a.shape(0) == 1 ? a.shape(1) : a.strides(0) / a.itemsize();
  return {const_cast<void*>(a.data()), stride, dtype_of(a)};
}

bool overlap(const py::array& a, const py::array& b) {
  const auto range = [](const py::array& v) {  // address range
    auto begin = static_cast<const char*>(v.data()), end = begin + v.itemsize();
    for (py::ssize_t i = 0; i < v.ndim(); ++i) (v.strides(i) < 0 ? begin : end) += (v.shape(i) - 1) * v.strides(i);
    return std::pair{begin, end};
  };
  const auto [a_begin, a_end] = range(a);
  const auto [b_begin, b_end] = range(b);
  return a_begin < b_end && b_begin < a_end;
}

py::array contiguous(const py::array& a) { return a.attr("copy")("C"); }

py::array contiguous_or_copied(const py::array& a) { return is_contiguous(a) ? a : contiguous(a); }

py::array output(const py::object& value, const char* argument, const std::vector<int64_t>& shape, Dtype dtype) {
  if (value.is_none()) return py::array(numpy_dtype(dtype), shape);
  const py::array a = checked(value, argument, shape, or_float32(dtype));
  if (!a.writeable()) throw py::value_error(std::string(argument) + " must be writable");
  if (!is_contiguous(a)) throw py::value_error(std::string(argument) + " must be contiguous");
  return a;
}

}  // namespace loopwright
