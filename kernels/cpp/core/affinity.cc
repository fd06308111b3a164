#include "loopwright/affinity.h"

namespace loopwright {

CpuMask::CpuMask(const std::vector<int>& cpus) {
  for (const int cpu : cpus)
    if (cpu >= 0 && cpu < kMostCpus) CPU_SET_S(static_cast<size_t>(cpu), sizeof sets_, sets_.data());
}

CpuMask CpuMask::current() {
  CpuMask mask({});
  sched_getaffinity(0, sizeof mask.sets_, mask.sets_.data());
  return mask;
}

void CpuMask::enter() const { sched_setaffinity(0, sizeof sets_, sets_.data()); }

std::vector<int> CpuMask::cpus() const {
  std::vector<int> found;
  for (int cpu = 0; cpu < kMostCpus; ++cpu)
    if (CPU_ISSET_S(static_cast<size_t>(cpu), sizeof sets_, sets_.data())) found.push_back(cpu);
  return found;
}

}  // namespace loopwright
