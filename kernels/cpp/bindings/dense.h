// The schedule of a dense layer as a dict, for the operators that hand one on.
#pragma once

#include <pybind11/pybind11.h>

#include "loopwright/dense.h"

namespace loopwright {

DenseSchedule parse_dense_schedule(const pybind11::dict& values);
pybind11::dict to_dict(const DenseSchedule& s);

}  // namespace loopwright
