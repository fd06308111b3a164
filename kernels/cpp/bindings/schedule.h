// A schedule from and to Python: a dict of numbers, flags and names.
#pragma once

#include <pybind11/pybind11.h>

#include "loopwright/schedule_values.h"

namespace loopwright {

// Throws std::invalid_argument where a value is neither a number nor a text.
ScheduleValues schedule_values(const pybind11::dict& values);
// Flags become bool.
pybind11::dict to_dict(const ScheduleValues& values);

}  // namespace loopwright
