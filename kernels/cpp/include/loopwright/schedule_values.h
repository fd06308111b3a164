// Schedules as names and values, the form in which they are stored and searched. Each operator's header declares how its
// schedule is converted.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace loopwright {

// A flag is 0 or 1, and a list of integers a tuple.
using ScheduleValue = std::variant<int64_t, std::string, std::vector<int64_t>>;
using ScheduleValues = std::vector<std::pair<std::string, ScheduleValue>>;  // names are unique

}  // namespace loopwright
