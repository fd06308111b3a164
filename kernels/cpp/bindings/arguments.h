// Checks arguments from Python before anything is computed. Every error is a ValueError or TypeError (std::invalid_argument
// becomes ValueError) of one line that names the argument and what is expected.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "loopwright/dtype.h"
#include "loopwright/layer_epilogue.h"
#include "loopwright/machine_model.h"
#include "loopwright/matrix.h"

namespace loopwright {

namespace py = pybind11;

// None selects the best ISA of this CPU.
Isa parse_available_isa(const std::optional<std::string>& text);
int check_threads(int threads);

// A machine model, or null for that of this CPU.
using MachineModelArgument = std::shared_ptr<const MachineModel>;
// `isa` as in parse_available_isa().
Target parse_target(const std::optional<std::string>& isa, const MachineModelArgument& machine);

// Sizes along the height and the width of an image.
using Pair = std::pair<int64_t, int64_t>;
Pair at_least(const char* argument, const Pair& values, int64_t least);
using FourSides = std::array<int64_t, 4>;  // of a padding: top, left, bottom, right

// Throws std::invalid_argument if `isa` lacks the dtype.
Dtype parse_available_dtype(const std::string& text, Isa isa);

// Returns the value as an array of one of the dtypes and of `shape`, where -1 means any size of at least 1. bfloat16 is
// recognized by its name, because numpy has no such type.
py::array checked(const py::handle& value, const char* argument, const std::vector<int64_t>& shape,
                  const std::vector<Dtype>& dtypes = {Dtype::kFloat32});
// Returns the dtypes that a matrix may have: the dtype itself and float32.
std::vector<Dtype> or_float32(Dtype dtype);
// `a` must be checked.
Dtype dtype_of(const py::array& a);
py::dtype numpy_dtype(Dtype dtype);

// What integers stand for, as Python passes it: the dtype, the scale and the zero point.
using IntegersOf = std::tuple<std::string, float, int>;
// Throws std::invalid_argument for an unknown dtype.
Quantization parse_quantization(const IntegersOf& given);

// The epilogue of a layer of `channels` output channels.
struct EpilogueArrays {
  py::array bias, slopes, scales;  // contiguous, or empty if absent
  Activation activation;
  LayerQuantization quantization;

  // `quantization` is None or (scales of the weight, x, whether x is given as floats, output, residual, sum). x, output, residual and sum
  // are (dtype, scale, zero point) or None; None for x means floats that are quantized by their range.
  EpilogueArrays(const py::object& bias_object, const std::optional<std::string>& activation_name,
                 const py::object& slopes_object, py::ssize_t channels, const py::object& quantization = py::none());
  LayerEpilogue epilogue() const;
};

// Whether each row of a matrix is contiguous and the rows are in ascending order.
bool has_rows(const py::array& matrix);
// The array must have rows. The matrix of an array that is not writable must only be read.
Matrix as_matrix(const py::array& matrix);
// Whether the address ranges of two arrays overlap. Neither may be empty.
bool overlap(const py::array& a, const py::array& b);

// Returns a copy, which is contiguous and aligned.
py::array contiguous(const py::array& a);
// Returns the array itself if it is contiguous and aligned, otherwise a copy.
py::array contiguous_or_copied(const py::array& a);
// Returns a new array of `dtype` if `value` is None. Otherwise `value` must be a contiguous, writable array of that shape, of
// `dtype` or float32.
py::array output(const py::object& value, const char* argument, const std::vector<int64_t>& shape,
                 Dtype dtype = Dtype::kFloat32);

}  // namespace loopwright
