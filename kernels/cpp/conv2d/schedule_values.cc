#include "convolution.h"
#include "core/schedule_reader.h"
#include "loopwright/conv2d_chain.h"

namespace loopwright {
namespace {

using Algorithm = Conv2dSchedule::Algorithm;
constexpr Name<Algorithm> kAlgorithms[] = {{"direct", Algorithm::kDirect},
                                           {"winograd2", Algorithm::kWinograd2},
                                           {"winograd3", Algorithm::kWinograd3},
                                           {"winograd4", Algorithm::kWinograd4}};

ScheduleValues to_values(const Conv2dSchedule& s) {
  return {{"algorithm", name_of(s.algorithm, kAlgorithms)},
          {"mr", s.mr},
          {"nr", s.nr},
          {"rows", s.rows},
          {"kc", s.kc},
          {"prefetch", s.prefetch},
          {"prefetch_next", int64_t{s.prefetch_next}},
          {"threads", value_of(s.threads)}};
}

}  // namespace

Conv2d::Schedule parse_conv2d_schedule(const Conv2dGeometry& g, Dtype dtype, const ScheduleValues& values) {
  if (g.pointwise()) return parse_dense_schedule(values);
  if (is_depthwise(g, dtype)) return parse_depthwise_schedule(values);
  const ScheduleReader read(values);
  Conv2dSchedule s;
  s.algorithm = read.choice("algorithm", kAlgorithms);
  s.mr = read.small("mr");
  s.nr = read.small("nr");
  s.rows = read.integer("rows");
  s.kc = read.integer("kc");
  s.prefetch = read.small("prefetch");
  s.prefetch_next = read.flag("prefetch_next");
  s.threads = read.thread_split();
  return s;
}

ScheduleValues to_values(const Conv2d::Schedule& s) {
  return std::visit([](const auto& kind) { return to_values(kind); }, s);
}

int64_t parse_chain_rows(const ScheduleValues& values) { return ScheduleReader(values).integer("rows"); }

ScheduleValues chain_values(int64_t rows) { return {{"rows", rows}}; }

}  // namespace loopwright
