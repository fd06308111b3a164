// The CPU time of control groups, of versions 1 and 2.
#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "machine/system_files.h"

namespace loopwright {
namespace {

using Quota = std::optional<double>;

// Without a limit, the files have "max" or -1 for a quota.
Quota ratio(const std::optional<double>& quota, const std::optional<double>& period) {
  if (!quota || !period || !(*quota > 0) || !(*period > 0)) return std::nullopt;
  return *quota / *period;
}

Quota of_version_2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period)) return std::nullopt;
  return ratio(quota, period);
}

Quota of_version_1(const std::string& folder) {
  return ratio(number(folder + "/cpu.cfs_quota_us"), number(folder + "/cpu.cfs_period_us"));
}

Quota least(const Quota& a, const Quota& b) { return a && b ? std::min(*a, *b) : a ? a : b; }

// Returns the least quota of a group and of those that contain it. A container often sees its own group as the root, while
// `group` is the path outside of it: then only the root exists.
template <class Read>
Quota along(const std::string& mount, std::string group, const Read& read) {
  if ((group + "/").find("/../") != std::string::npos) group.clear();  // outside of what this process sees
  Quota found;
  while (true) {
    while (!group.empty() && group.back() == '/') group.pop_back();
    found = least(found, read(mount + group));
    if (group.empty()) return found;
    group.erase(group.rfind('/') + 1);
  }
}

bool has(const std::string& controllers, const std::string& wanted) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');)
    if (name == wanted) return true;
  return false;
}

}  // namespace

std::optional<double> cpu_quota(const std::string& root) {
  const std::string mounts = root + "/sys/fs/cgroup";
  std::string group_1, group_2;  // empty for the root
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "ID:CONTROLLERS:/PATH", of version 2 "0::/PATH"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos || line[second + 1] != '/') continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers.empty()) group_2 = path;
    if (has(controllers, "cpu")) group_1 = path;
  }
  Quota found = along(mounts, group_2, of_version_2);
  found = least(found, along(mounts + "/unified", group_2, of_version_2));  // next to version 1
  found = least(found, along(mounts + "/cpu", group_1, of_version_1));
  return least(found, along(mounts + "/cpu,cpuacct", group_1, of_version_1));  // usually the folder of /cpu
}

}  // namespace loopwright
