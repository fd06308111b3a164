// Child processes.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace loopwright::serving {

// Starts a program, which is found by PATH. Its file descriptors are standard input and those of `files`: pairs of ours (which must be
// above all numbers of the child) and its number. It takes signals, which the server blocks, and runs on the cores of this thread.
// Throws Error (kUnavailable) with the reason.
pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::pair<int, int>>& files);

// Returns "exit code 3" or "signal 9 (Killed)" of a status as waitpid gives it.
std::string end_of_process(int status);

}  // namespace loopwright::serving
