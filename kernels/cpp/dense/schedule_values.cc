#include "core/schedule_reader.h"
#include "loopwright/dense.h"

namespace loopwright {
namespace {

using Order = DenseSchedule::Order;
using Algorithm = DenseSchedule::Algorithm;
constexpr Name<Order> kOrders[] = {{"m_inner", Order::kMInner}, {"n_inner", Order::kNInner}};
constexpr Name<Algorithm> kAlgorithms[] = {{"direct", Algorithm::kDirect}, {"strassen", Algorithm::kStrassen}};

}  // namespace

DenseSchedule parse_dense_schedule(const ScheduleValues& values) {
  const ScheduleReader read(values);
  DenseSchedule s;
  if (read.has("algorithm")) s.algorithm = read.choice("algorithm", kAlgorithms);  // older records lack it
  s.mr = read.small("mr");
  s.nr = read.small("nr");
  s.mc = read.integer("mc");
  s.kc = read.integer("kc");
  s.nc = read.integer("nc");
  s.order = read.choice("order", kOrders);
  s.pack_a = read.flag("pack_a");
  s.prefetch = read.small("prefetch");
  s.prefetch_next = read.flag("prefetch_next");
  s.threads = read.thread_split();
  return s;
}

ScheduleValues to_values(const DenseSchedule& s) {
  return {{"algorithm", name_of(s.algorithm, kAlgorithms)},
          {"mr", s.mr},
          {"nr", s.nr},
          {"mc", s.mc},
          {"kc", s.kc},
          {"nc", s.nc},
          {"order", name_of(s.order, kOrders)},
          {"pack_a", int64_t{s.pack_a}},
          {"prefetch", s.prefetch},
          {"prefetch_next", int64_t{s.prefetch_next}},
          {"threads", value_of(s.threads)}};
}

}  // namespace loopwright
