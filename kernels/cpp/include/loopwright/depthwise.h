// Schedules of depthwise convolutions, which convolve each channel with its own kernel.
#pragma once

#include <cstdint>

#include "loopwright/geometry.h"
#include "loopwright/machine_model.h"
#include "loopwright/schedule_values.h"

namespace loopwright {

// Every legal schedule computes the same result.
//
//   columns    pixels of an output row that are computed together; a strip of them moves down the image
//   channels   channels per pass of a strip
//   threads_m  number of threads that split the rows of the output; the others split the channels
struct DepthwiseSchedule {
  int columns = 1;
  int64_t channels = 1;
  int threads_m = 1;
};

// Returns a good schedule without a search; depthwise/default_schedule.cc has the reasons.
DepthwiseSchedule default_depthwise_schedule(const Target& target, const Conv2dGeometry& g, const Images& images,
                                             int threads);

// Throws std::invalid_argument if an entry is missing or has the wrong type. Ignores unknown entries.
DepthwiseSchedule parse_depthwise_schedule(const ScheduleValues& values);
ScheduleValues to_values(const DepthwiseSchedule& s);

}  // namespace loopwright
