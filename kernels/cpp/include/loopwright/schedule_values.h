// Schedules as names and values, the form in which they are stored and searched.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "loopwright/attention.h"
#include "loopwright/conv2d.h"
#include "loopwright/dense.h"

namespace loopwright {

// A flag is 0 or 1.
using ScheduleValue = std::variant<int64_t, std::string>;
using ScheduleValues = std::vector<std::pair<std::string, ScheduleValue>>;  // no name twice

// These throw std::invalid_argument where an entry is missing or of another kind; entries of other names do not matter.
DenseSchedule parse_dense_schedule(const ScheduleValues& values);
AttentionSchedule parse_attention_schedule(const ScheduleValues& values);
// Of the kind that such a convolution takes.
Conv2d::Schedule parse_conv2d_schedule(const Conv2dGeometry& geometry, Dtype dtype, const ScheduleValues& values);

// Rows of the last output that a chain of convolutions computes at a time.
int64_t parse_chain_rows(const ScheduleValues& values);

ScheduleValues to_values(const DenseSchedule& s);
ScheduleValues to_values(const AttentionSchedule& s);
ScheduleValues to_values(const Conv2d::Schedule& s);
ScheduleValues chain_values(int64_t rows);

}  // namespace loopwright
