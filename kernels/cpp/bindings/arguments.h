// Arguments from Python, checked before anything is computed. Every error is a ValueError or TypeError
// (std::invalid_argument becomes the former) of one line that names the argument and what it should be.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "loopwright/brgemm.h"
#include "loopwright/isa.h"

namespace loopwright {

namespace py = pybind11;

Activation parse_activation(const std::optional<std::string>& text);
// None is the best ISA of this CPU.
Isa parse_available_isa(const std::optional<std::string>& text);
int check_threads(int threads);

// An array of float32 with `shape`, where -1 stands for any size of 1 or more.
py::array checked(const py::handle& value, const char* argument, const std::vector<int64_t>& shape);

// Whether the rows of a matrix are runs of floats that follow each other upwards.
bool has_rows(const py::array& matrix);
// Floats from row to row of a matrix that has rows.
int64_t row_stride(const py::array& matrix);
// Whether two arrays, none of them empty, have addresses between their first and last element in common.
bool overlap(const py::array& a, const py::array& b);

// A copy, since an array can be contiguous and misaligned.
py::array contiguous(const py::array& a);
// The array itself where it is contiguous and aligned, else a copy.
py::array contiguous_or_copied(const py::array& a);
// A new array of float32 where `value` is None, else `value`: a contiguous, writable array of that shape.
py::array output(const py::object& value, const char* argument, const std::vector<int64_t>& shape);

}  // namespace loopwright
