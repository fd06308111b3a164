// Checks of schedules. Each throws std::invalid_argument with a message of one line.
#pragma once

#include <stdexcept>
#include <string>

#include "microkernels/kernel_table.h"

namespace loopwright {

inline void check_register_tile(const KernelTable& kernels, int mr, int nr, Isa isa) {
  if (!kernels.find(mr, nr))
    throw std::invalid_argument("schedule: no " + std::to_string(mr) + "x" + std::to_string(nr) + " register tile on " +
                                name(isa));
}

inline void check_threads_m(int threads_m, int threads) {
  if (threads_m < 1 || threads % threads_m != 0)
    throw std::invalid_argument("schedule: threads_m must divide threads (" + std::to_string(threads) + "), got " +
                                std::to_string(threads_m));
}

}  // namespace loopwright
