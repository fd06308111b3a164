// Arguments from Python, checked before anything is computed. Every error is a ValueError or TypeError
// (std::invalid_argument becomes the former) of one line that names the argument and what it should be.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "loopwright/activation.h"
#include "loopwright/dtype.h"
#include "loopwright/isa.h"
#include "loopwright/matrix.h"

namespace loopwright {

namespace py = pybind11;

// None is the best ISA of this CPU.
Isa parse_available_isa(const std::optional<std::string>& text);
int check_threads(int threads);

// Sizes along the height and the width of an image.
using Pair = std::pair<int64_t, int64_t>;
Pair at_least(const char* argument, const Pair& values, int64_t least);

// A dtype that `isa` and this CPU have.
Dtype parse_available_dtype(const std::string& text, Isa isa);

// An array of one of the dtypes with `shape`, where -1 stands for any size of 1 or more. bfloat16 is known by its name:
// numpy has no such type of its own.
py::array checked(const py::handle& value, const char* argument, const std::vector<int64_t>& shape,
                  const std::vector<Dtype>& dtypes = {Dtype::kFloat32});
// What the output of an operator on `dtype` may be: that, or its sums.
std::vector<Dtype> output_dtypes(Dtype dtype);
// Of an array that was checked.
Dtype dtype_of(const py::array& a);

// Whether the rows of a matrix are runs of elements that follow each other upwards.
bool has_rows(const py::array& matrix);
// A matrix that has rows. What points to an array that is not writable must only be read.
Matrix as_matrix(const py::array& matrix);
// Whether two arrays, none of them empty, have addresses between their first and last element in common.
bool overlap(const py::array& a, const py::array& b);

// A copy, since an array can be contiguous and misaligned.
py::array contiguous(const py::array& a);
// The array itself where it is contiguous and aligned, else a copy.
py::array contiguous_or_copied(const py::array& a);
// A new array of `dtype` where `value` is None, else `value`: a contiguous, writable array of that shape, and of one of
// the output_dtypes().
py::array output(const py::object& value, const char* argument, const std::vector<int64_t>& shape,
                 const py::dtype& dtype = py::dtype::of<float>());

}  // namespace loopwright
