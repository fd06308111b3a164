// The CPUs that a thread may use.
#pragma once

#include <vector>

namespace loopwright {

// Returns the logical CPUs that the calling thread may run on, in order.
std::vector<int> allowed_cpus();
// Restricts the calling thread to `cpus`. Has no effect if the system does not allow it.
void run_on(const std::vector<int>& cpus);

}  // namespace loopwright
