// A schedule from Python: a dict of numbers, flags and names.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace loopwright {

// Reads entries by name. Each raises std::invalid_argument where the entry is missing or of another kind.
class ScheduleReader {
 public:
  explicit ScheduleReader(const pybind11::dict& values) : values_(values) {}

  int64_t integer(const char* key) const {
    const pybind11::object value = find(key);
    try {
      return pybind11::cast<int64_t>(value);
    } catch (const pybind11::cast_error&) {
      throw std::invalid_argument(std::string("schedule: ") + key + " must be an integer, got " + repr(value));
    }
  }
  // Clamped to the range of int, far outside of what is legal.
  int small(const char* key) const { return static_cast<int>(std::clamp<int64_t>(integer(key), -1, 1 << 30)); }
  bool flag(const char* key) const { return integer(key) != 0; }

  // The value that `names` gives to the entry.
  template <class T, size_t N>
  T choice(const char* key, const std::pair<const char*, T> (&names)[N]) const {
    const pybind11::object value = find(key);
    std::string known;
    for (const auto& [name, result] : names) {
      if (pybind11::isinstance<pybind11::str>(value) && pybind11::cast<std::string>(value) == name) return result;
      known += std::string(known.empty() ? "'" : ", '") + name + "'";
    }
    throw std::invalid_argument(std::string("schedule: ") + key + " must be one of " + known + ", got " + repr(value));
  }

 private:
  pybind11::object find(const char* key) const {
    if (!values_.contains(key)) throw std::invalid_argument(std::string("schedule lacks '") + key + "'");
    return values_[key];
  }
  static std::string repr(const pybind11::object& value) { return pybind11::cast<std::string>(pybind11::repr(value)); }

  const pybind11::dict& values_;
};

// The name that `names` gives to a value that is in it.
template <class T, size_t N>
const char* name_of(T value, const std::pair<const char*, T> (&names)[N]) {
  return std::find_if(names, names + N, [&](const auto& entry) { return entry.second == value; })->first;
}

}  // namespace loopwright
