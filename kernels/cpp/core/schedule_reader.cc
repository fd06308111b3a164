#include "core/schedule_reader.h"

#include <stdexcept>

namespace loopwright {
namespace {

auto find_entry(const ScheduleValues& values, const char* key) {
  return std::find_if(values.begin(), values.end(), [&](const auto& entry) { return entry.first == key; });
}

std::string text(const ScheduleValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  return "'" + std::get<std::string>(value) + "'";
}

}  // namespace

bool ScheduleReader::has(const char* key) const { return find_entry(values_, key) != values_.end(); }

int64_t ScheduleReader::integer(const char* key) const {
  if (const auto* number = std::get_if<int64_t>(&find(key))) return *number;
  fail(key, "an integer");
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
