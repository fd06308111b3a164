// Reads and writes the entries of ScheduleValues.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "loopwright/schedule_values.h"
#include "loopwright/thread_split.h"

namespace loopwright {

// The names of the values of an enumeration.
template <class T>
using Name = std::pair<const char*, T>;

// Each function throws std::invalid_argument if the entry is missing or has the wrong type.
class ScheduleReader {
 public:
  explicit ScheduleReader(const ScheduleValues& values) : values_(values) {}

  bool has(const char* key) const;
  int64_t integer(const char* key) const;
  // Clamped to the range of int, far outside of what is legal.
  int small(const char* key) const { return clamped(integer(key)); }
  bool flag(const char* key) const { return integer(key) != 0; }
  // The entry "threads", (m, n), or "threads_m" alone, of schedules of earlier versions.
  ThreadSplit thread_split() const;

  // Returns the value whose name is the entry.
  template <class T, size_t N>
  T choice(const char* key, const Name<T> (&names)[N]) const {
    const auto* wanted = std::get_if<std::string>(&find(key));
    std::string known;
    for (const auto& [name, value] : names) {
      if (wanted && *wanted == name) return value;
      known += std::string(known.empty() ? "'" : ", '") + name + "'";
    }
    fail(key, "one of " + known);
  }

 private:
  static int clamped(int64_t value) { return static_cast<int>(std::clamp<int64_t>(value, -1, 1 << 30)); }
  const ScheduleValue& find(const char* key) const;
  [[noreturn]] void fail(const char* key, const std::string& expected) const;

  const ScheduleValues& values_;
};

inline ScheduleValue value_of(const ThreadSplit& split) { return std::vector<int64_t>{split.m, split.n}; }

// Returns the name of a value of the table.
template <class T, size_t N>
std::string name_of(T value, const Name<T> (&names)[N]) {
  return std::find_if(names, names + N, [&](const auto& entry) { return entry.second == value; })->first;
}

}  // namespace loopwright
