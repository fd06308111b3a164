// Converts schedules from and to Python dicts of numbers, flags and names.
#pragma once

#include <pybind11/pybind11.h>

#include "loopwright/schedule_values.h"

namespace loopwright {

// Throws std::invalid_argument if a value is neither an integer nor a string.
ScheduleValues schedule_values(const pybind11::dict& values);
// Flags become bool.
pybind11::dict to_dict(const ScheduleValues& values);

}  // namespace loopwright
