#include "core/schedule_reader.h"
#include "loopwright/depthwise.h"

namespace loopwright {

DepthwiseSchedule parse_depthwise_schedule(const ScheduleValues& values) {
  const ScheduleReader read(values);
  DepthwiseSchedule s;
  s.columns = read.small("columns");
  s.channels = read.integer("channels");
  s.threads_m = read.small("threads_m");
  return s;
}

ScheduleValues to_values(const DepthwiseSchedule& s) {
  return {{"columns", s.columns}, {"channels", s.channels}, {"threads_m", s.threads_m}};
}

}  // namespace loopwright
