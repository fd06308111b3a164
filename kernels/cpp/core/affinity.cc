#include "core/affinity.h"

#include <sched.h>

namespace loopwright {
namespace {

constexpr int kMostCpus = 8192;  // of Linux
constexpr size_t kSets = kMostCpus / CPU_SETSIZE, kBytes = kSets * sizeof(cpu_set_t);

}  // namespace

std::vector<int> allowed_cpus() {
  std::vector<cpu_set_t> sets(kSets);
  std::vector<int> cpus;
  if (sched_getaffinity(0, kBytes, sets.data()) == 0)
    for (int cpu = 0; cpu < kMostCpus; ++cpu)
      if (CPU_ISSET_S(static_cast<size_t>(cpu), kBytes, sets.data())) cpus.push_back(cpu);
  return cpus;
}

void run_on(const std::vector<int>& cpus) {
  std::vector<cpu_set_t> sets(kSets);
  for (const int cpu : cpus)
    if (cpu >= 0 && cpu < kMostCpus) CPU_SET_S(static_cast<size_t>(cpu), kBytes, sets.data());
  sched_setaffinity(0, kBytes, sets.data());
}

}  // namespace loopwright
