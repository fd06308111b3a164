#include "core/schedule_reader.h"
#include "loopwright/attention.h"

namespace loopwright {

AttentionSchedule parse_attention_schedule(const ScheduleValues& values) {
  const ScheduleReader read(values);
  AttentionSchedule s;
  s.scores_mr = read.small("scores_mr");
  s.scores_nr = read.small("scores_nr");
  s.values_mr = read.small("values_mr");
  s.values_nr = read.small("values_nr");
  s.rows = read.integer("rows");
  s.threads = read.small("threads");
  return s;
}

ScheduleValues to_values(const AttentionSchedule& s) {
  return {{"scores_mr", s.scores_mr}, {"scores_nr", s.scores_nr}, {"values_mr", s.values_mr},
          {"values_nr", s.values_nr}, {"rows", s.rows},           {"threads", s.threads}};
}

}  // namespace loopwright
