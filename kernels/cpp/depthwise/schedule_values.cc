#include "core/schedule_reader.h"
#include "loopwright/depthwise.h"

namespace loopwright {

DepthwiseSchedule parse_depthwise_schedule(const ScheduleValues& values) {
  const ScheduleReader read(values);
  DepthwiseSchedule s;
  s.columns = read.small("columns");
  s.channels = read.integer("channels");
  s.threads = read.thread_split();
  return s;
}

ScheduleValues to_values(const DepthwiseSchedule& s) {
  return {{"columns", s.columns}, {"channels", s.channels}, {"threads", value_of(s.threads)}};
}

}  // namespace loopwright
