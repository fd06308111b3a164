// Reads the short text files in which Linux describes the machine and the process.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace loopwright {

// The CPUs that a process may have; the kernel's own limit is 8192.
constexpr int kMostCpus = 1 << 16;

// Returns the first line of a file; nothing if it cannot be read.
std::optional<std::string> first_line(const std::string& path);

// Returns the CPUs of a list such as "0-3,8,10-11"; none if the file cannot be read or is not such a list.
std::vector<int> cpu_list(const std::string& path);

// Returns the number at the start of a file; nothing without one.
std::optional<double> number(const std::string& path);

// Returns the CPUs' worth of time that the control groups of this process have, the least of all levels (man 7 cgroups);
// nothing without a limit.
std::optional<double> cpu_quota(const std::string& root);

}  // namespace loopwright
