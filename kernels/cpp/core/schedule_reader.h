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
  int small(const char* key) const { return static_cast<int>(std::clamp<int64_t>(integer(key), -1, 1 << 30)); }
  bool flag(const char* key) const { return integer(key) != 0; }
  // The entries threads_m and threads_n, which older records lack.
  ThreadSplit thread_split() const { return {small("threads_m"), has("threads_n") ? small("threads_n") : 0}; }

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
  const ScheduleValue& find(const char* key) const;
  [[noreturn]] void fail(const char* key, const std::string& expected) const;

  const ScheduleValues& values_;
};

// Returns the name of a value of the table.
template <class T, size_t N>
std::string name_of(T value, const Name<T> (&names)[N]) {
  return std::find_if(names, names + N, [&](const auto& entry) { return entry.second == value; })->first;
}

}  // namespace loopwright
