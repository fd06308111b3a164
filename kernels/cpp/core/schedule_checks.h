// Checks of schedules. Each throws std::invalid_argument with a message of one line.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "microkernels/kernel_table.h"

namespace loopwright {

// `narrow`: whether the operator has tiles that are narrower than a vector.
inline void check_register_tile(const KernelTable& kernels, int mr, int nr, Isa isa, bool narrow = false) {
  if (!kernels.find(mr, nr) || (kernels.is_narrow(nr) && !narrow))
    throw std::invalid_argument("schedule: no " + std::to_string(mr) + "x" + std::to_string(nr) + " register tile on " +
                                name(isa));
}

// `kc` and `k`: the length of a block of the sum, and of the sum.
inline void check_narrow_tile(const KernelTable& kernels, int nr, int64_t kc, int64_t k) {
  if (kernels.is_narrow(nr) && kc < k)
    throw std::invalid_argument("schedule: a tile of " + std::to_string(nr) +
                                " columns, fewer than a vector, needs the entire sum: kc of at least " +
                                std::to_string(k) + ", got " + std::to_string(kc));
}

inline void check_threads_m(int threads_m, int threads) {
  if (threads_m < 1 || threads % threads_m != 0)
    throw std::invalid_argument("schedule: threads_m must divide threads (" + std::to_string(threads) + "), got " +
                                std::to_string(threads_m));
}

}  // namespace loopwright
