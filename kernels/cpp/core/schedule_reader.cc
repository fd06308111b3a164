#include "core/schedule_reader.h"

#include <stdexcept>

namespace loopwright {
namespace {

auto find_entry(const ScheduleValues& values, const char* key) {
  return std::find_if(values.begin(), values.end(), [&](const auto& entry) { return entry.first == key; });
}

std::string text(const ScheduleValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  if (const auto* name = std::get_if<std::string>(&value)) return "'" + *name + "'";
  std::string listed;
  for (const int64_t number : std::get<std::vector<int64_t>>(value))
    listed += (listed.empty() ? "" : ", ") + std::to_string(number);
  return "(" + listed + ")";
}

}  // namespace

bool ScheduleReader::has(const char* key) const { return find_entry(values_, key) != values_.end(); }

int64_t ScheduleReader::integer(const char* key) const {
  if (const auto* number = std::get_if<int64_t>(&find(key))) return *number;
  fail(key, "an integer");
}

ThreadSplit ScheduleReader::thread_split() const {
  if (!has("threads") && has("threads_m")) return {small("threads_m"), 0};
  const auto* parts = std::get_if<std::vector<int64_t>>(&find("threads"));
  if (!parts || parts->size() != 2 || parts->front() < 1 || parts->back() < 1)
    fail("threads", "two integers of at least 1, the parts of rows and of columns");
  return {clamped(parts->front()), clamped(parts->back())};
}

const ScheduleValue& ScheduleReader::find(const char* key) const {
  const auto found = find_entry(values_, key);
  if (found == values_.end()) throw std::invalid_argument(std::string("schedule lacks '") + key + "'");
  return found->second;
}

void ScheduleReader::fail(const char* key, const std::string& expected) const {
  throw std::invalid_argument(std::string("schedule: ") + key + " must be " + expected + ", got " + text(find(key)));
}

}  // namespace loopwright
