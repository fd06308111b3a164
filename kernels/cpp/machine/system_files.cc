#include "machine/system_files.h"

#include <fstream>
#include <sstream>

namespace loopwright {

std::optional<std::string> first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

std::vector<int> cpu_list(const std::string& path) {
  const std::optional<std::string> line = first_line(path);
  if (!line) return {};
  std::vector<int> cpus;
  std::istringstream ranges(*line);
  for (std::string range; std::getline(ranges, range, ',');) {
    std::istringstream text(range);
    int first = 0, last = 0;
    char dash = 0;
    if (!(text >> first)) return {};
    if (!(text >> dash)) {
      last = first;
    } else if (dash != '-' || !(text >> last)) {
      return {};
    }
    if (first < 0 || last < first || last >= kMostCpus) return {};
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

std::optional<double> number(const std::string& path) {
  std::ifstream file(path);
  double value = 0;
  if (!(file >> value)) return std::nullopt;
  return value;
}

}  // namespace loopwright
