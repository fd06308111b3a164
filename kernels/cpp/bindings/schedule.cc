#include "schedule.h"

#include <pybind11/stl.h>

#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace loopwright {
namespace {

namespace py = pybind11;

const std::set<std::string> kFlags = {"pack_a", "prefetch_next"};

ScheduleValue value_of(const std::string& key, const py::handle& value) {
  if (py::isinstance<py::str>(value)) return py::cast<std::string>(value);
  try {
    if (py::isinstance<py::tuple>(value) || py::isinstance<py::list>(value))
      return py::cast<std::vector<int64_t>>(value);
    return py::cast<int64_t>(value);
  } catch (const py::cast_error&) {
    throw std::invalid_argument("schedule: " + key + " must be an integer, a name or a tuple of integers, got " +
                                py::cast<std::string>(py::repr(value)));
  }
}

}  // namespace

ScheduleValues schedule_values(const py::dict& values) {
  ScheduleValues read;
  for (const auto& [key, value] : values) {
    const auto name = py::cast<std::string>(py::str(key));
    read.emplace_back(name, value_of(name, value));
  }
  return read;
}

py::dict to_dict(const ScheduleValues& values) {
  py::dict written;
  for (const auto& [key, value] : values) {
    const py::str name(key);
    if (const auto* number = std::get_if<int64_t>(&value)) {
      written[name] = kFlags.count(key) ? py::object(py::bool_(*number != 0)) : py::object(py::int_(*number));
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      written[name] = py::str(*text);
    } else {
      written[name] = py::tuple(py::cast(std::get<std::vector<int64_t>>(value)));
    }
  }
  return written;
}

}  // namespace loopwright
