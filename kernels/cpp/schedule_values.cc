#include "loopwright/schedule_values.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace loopwright {
namespace {

using Order = DenseSchedule::Order;
constexpr std::pair<const char*, Order> kOrders[] = {{"m_inner", Order::kMInner}, {"n_inner", Order::kNInner}};

constexpr std::pair<const char*, DenseSchedule::Algorithm> kDenseAlgorithms[] = {
    {"direct", DenseSchedule::Algorithm::kDirect}, {"strassen", DenseSchedule::Algorithm::kStrassen}};

using Algorithm = Conv2dSchedule::Algorithm;
constexpr std::pair<const char*, Algorithm> kAlgorithms[] = {{"direct", Algorithm::kDirect},
                                                             {"winograd2", Algorithm::kWinograd2},
                                                             {"winograd3", Algorithm::kWinograd3},
                                                             {"winograd4", Algorithm::kWinograd4}};

// Reads entries by name.
class Reader {
 public:
  explicit Reader(const ScheduleValues& values) : values_(values) {}

  int64_t integer(const char* key) const {
    const ScheduleValue& value = find(key);
    if (const auto* number = std::get_if<int64_t>(&value)) return *number;
    throw std::invalid_argument(std::string("schedule: ") + key + " must be an integer, got " + text(value));
  }
  // Clamped to the range of int, far outside of what is legal.
  int small(const char* key) const { return static_cast<int>(std::clamp<int64_t>(integer(key), -1, 1 << 30)); }
  bool flag(const char* key) const { return integer(key) != 0; }
  bool has(const char* key) const {
    return std::any_of(values_.begin(), values_.end(), [&](const auto& entry) { return entry.first == key; });
  }

  // The value that `names` gives to the entry.
  template <class T, size_t N>
  T choice(const char* key, const std::pair<const char*, T> (&names)[N]) const {
    const ScheduleValue& value = find(key);
    const auto* wanted = std::get_if<std::string>(&value);
    std::string known;
    for (const auto& [name, result] : names) {
      if (wanted && *wanted == name) return result;
      known += std::string(known.empty() ? "'" : ", '") + name + "'";
    }
    throw std::invalid_argument(std::string("schedule: ") + key + " must be one of " + known + ", got " + text(value));
  }

 private:
  const ScheduleValue& find(const char* key) const {
    const auto found =
        std::find_if(values_.begin(), values_.end(), [&](const auto& entry) { return entry.first == key; });
    if (found == values_.end()) throw std::invalid_argument(std::string("schedule lacks '") + key + "'");
    return found->second;
  }
  static std::string text(const ScheduleValue& value) {
    if (const auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
    return "'" + std::get<std::string>(value) + "'";
  }

  const ScheduleValues& values_;
};

// The name that `names` gives to a value that is in it.
template <class T, size_t N>
std::string name_of(T value, const std::pair<const char*, T> (&names)[N]) {
  return std::find_if(names, names + N, [&](const auto& entry) { return entry.second == value; })->first;
}

DepthwiseSchedule parse_depthwise_schedule(const Reader& read) {
  DepthwiseSchedule s;
  s.columns = read.small("columns");
  s.channels = read.integer("channels");
  s.threads_m = read.small("threads_m");
  return s;
}

ScheduleValues values_of(const DenseSchedule& s) { return to_values(s); }

ScheduleValues values_of(const DepthwiseSchedule& s) {
  return {{"columns", s.columns}, {"channels", s.channels}, {"threads_m", s.threads_m}};
}

ScheduleValues values_of(const Conv2dSchedule& s) {
  return {{"algorithm", name_of(s.algorithm, kAlgorithms)},
          {"mr", s.mr},
          {"nr", s.nr},
          {"rows", s.rows},
          {"kc", s.kc},
          {"prefetch", s.prefetch},
          {"prefetch_next", int64_t{s.prefetch_next}},
          {"threads_m", s.threads_m}};
}

}  // namespace

DenseSchedule parse_dense_schedule(const ScheduleValues& values) {
  const Reader read(values);
  DenseSchedule s;
  if (read.has("algorithm")) s.algorithm = read.choice("algorithm", kDenseAlgorithms);  // older schedules have none
  s.mr = read.small("mr");
  s.nr = read.small("nr");
  s.mc = read.integer("mc");
  s.kc = read.integer("kc");
  s.nc = read.integer("nc");
  s.order = read.choice("order", kOrders);
  s.pack_a = read.flag("pack_a");
  s.prefetch = read.small("prefetch");
  s.prefetch_next = read.flag("prefetch_next");
  s.threads_m = read.small("threads_m");
  return s;
}

AttentionSchedule parse_attention_schedule(const ScheduleValues& values) {
  const Reader read(values);
  AttentionSchedule s;
  s.scores_mr = read.small("scores_mr");
  s.scores_nr = read.small("scores_nr");
  s.values_mr = read.small("values_mr");
  s.values_nr = read.small("values_nr");
  s.rows = read.integer("rows");
  s.threads = read.small("threads");
  return s;
}

Conv2d::Schedule parse_conv2d_schedule(const Conv2dGeometry& geometry, Dtype dtype, const ScheduleValues& values) {
  if (geometry.pointwise()) return parse_dense_schedule(values);
  const Reader read(values);
  if (geometry.depthwise() && dtype == Dtype::kFloat32) return parse_depthwise_schedule(read);
  Conv2dSchedule s;
  s.algorithm = read.choice("algorithm", kAlgorithms);
  s.mr = read.small("mr");
  s.nr = read.small("nr");
  s.rows = read.integer("rows");
  s.kc = read.integer("kc");
  s.prefetch = read.small("prefetch");
  s.prefetch_next = read.flag("prefetch_next");
  s.threads_m = read.small("threads_m");
  return s;
}

int64_t parse_chain_rows(const ScheduleValues& values) { return Reader(values).integer("rows"); }

ScheduleValues to_values(const DenseSchedule& s) {
  return {{"algorithm", name_of(s.algorithm, kDenseAlgorithms)},
          {"mr", s.mr},
          {"nr", s.nr},
          {"mc", s.mc},
          {"kc", s.kc},
          {"nc", s.nc},
          {"order", name_of(s.order, kOrders)},
          {"pack_a", int64_t{s.pack_a}},
          {"prefetch", s.prefetch},
          {"prefetch_next", int64_t{s.prefetch_next}},
          {"threads_m", s.threads_m}};
}

ScheduleValues to_values(const AttentionSchedule& s) {
  return {{"scores_mr", s.scores_mr}, {"scores_nr", s.scores_nr}, {"values_mr", s.values_mr},
          {"values_nr", s.values_nr}, {"rows", s.rows},           {"threads", s.threads}};
}

ScheduleValues to_values(const Conv2d::Schedule& s) {
  return std::visit([](const auto& kind) { return values_of(kind); }, s);
}

ScheduleValues chain_values(int64_t rows) { return {{"rows", rows}}; }

}  // namespace loopwright
