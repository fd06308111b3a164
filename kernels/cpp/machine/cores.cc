// The cores that this process may use: those of its affinity mask, and no more than its control group has time for.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "loopwright/machine_model.h"

namespace loopwright {
namespace {

// The largest number of threads of an operator.
constexpr int kMostCores = 1024;

int cores_of_affinity() {
  std::vector<cpu_set_t> sets(16);  // the kernel rejects masks that are smaller than its own, of up to 8192 CPUs
  const size_t bytes = sets.size() * sizeof(cpu_set_t);
  return sched_getaffinity(0, bytes, sets.data()) == 0 ? CPU_COUNT_S(bytes, sets.data()) : 1;
}

// Returns the cores of a quota per period; kMostCores without a quota, which the files write as "max" or -1.
int cores_of_quota(std::istream& quota_file, std::istream& period_file) {
  double quota = 0, period = 0;
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return kMostCores;
  return static_cast<int>(std::min<double>(std::ceil(quota / period), kMostCores));
}

// Returns the least quota of the control groups that contain this process (man 7 cgroups). A container sees its own group
// as the root.
int cores_of_control_groups() {
  const std::string root = "/sys/fs/cgroup";
  std::string group;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);)
    if (line.rfind("0::/", 0) == 0) group = line.substr(3);  // of version 2; "/" is the root
  int least = kMostCores;
  while (true) {
    if (!group.empty() && group.back() == '/') group.pop_back();
    std::ifstream limit(root + group + "/cpu.max");
    least = std::min(least, cores_of_quota(limit, limit));
    if (group.empty()) break;
    group.erase(group.rfind('/') + 1);
  }
  std::ifstream quota(root + "/cpu/cpu.cfs_quota_us"), period(root + "/cpu/cpu.cfs_period_us");  // of version 1
  return std::min(least, cores_of_quota(quota, period));
}

}  // namespace

int usable_cores() { return std::max(1, std::min(cores_of_affinity(), cores_of_control_groups())); }

}  // namespace loopwright
