// Schedules of depthwise convolutions, which convolve each channel with its own kernel.
#pragma once

#include <cstdint>

#include "loopwright/geometry.h"
#include "loopwright/machine_model.h"
#include "loopwright/schedule_values.h"
#include "loopwright/thread_split.h"

namespace loopwright {

// Every legal schedule computes the same result.
//
//   columns    pixels of an output row that are computed together; a strip of them moves down the image
//   channels   channels per pass of a strip
//   threads    rectangles of (rows of the output, channels), one per thread
struct DepthwiseSchedule {
  int columns = 1;
  int64_t channels = 1;
  ThreadSplit threads;
};

// Returns a good schedule without a search; depthwise/default_schedule.cc has the reasons.
DepthwiseSchedule default_depthwise_schedule(const Target& target, const Conv2dGeometry& g, const Images& images,
                                             int threads);

// Throws std::invalid_argument if an entry is missing or has the wrong type. Ignores unknown entries.
DepthwiseSchedule parse_depthwise_schedule(const ScheduleValues& values);
ScheduleValues to_values(const DepthwiseSchedule& s);

}  // namespace loopwright
