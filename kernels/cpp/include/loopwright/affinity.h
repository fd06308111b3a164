// The CPUs that a thread may use.
#pragma once

#include <sched.h>

#include <array>
#include <vector>

namespace loopwright {

// A set of logical CPUs, as the system takes it.
class CpuMask {
 public:
  explicit CpuMask(const std::vector<int>& cpus);
  // Returns the CPUs that the calling thread may use.
  static CpuMask current();
  // Restricts the calling thread to these CPUs. Has no effect if the system does not allow it.
  void enter() const;
  // Returns the CPUs in order.
  std::vector<int> cpus() const;

 private:
  static constexpr int kMostCpus = 8192;  // of Linux
  std::array<cpu_set_t, kMostCpus / CPU_SETSIZE> sets_{};
};

}  // namespace loopwright
