// Checks of schedules. Each throws std::invalid_argument with a message of one line.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "loopwright/thread_split.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

// Checks sizes of blocks, of which sums must not overflow.
inline void check_blocks(const char* names, std::initializer_list<int64_t> sizes) {
  constexpr int64_t kMost = int64_t{1} << 48;
  if (std::min(sizes) < 1 || std::max(sizes) > kMost)
    throw std::invalid_argument(std::string("schedule: ") + names + " must be at least 1, and at most 2^48");
}

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

// Sums of integers are never stored before they are complete.
inline void check_integer_sum(Dtype dtype, int64_t kc, int64_t k) {
  if (is_integer(dtype) && kc < k)
    throw std::invalid_argument("schedule: int8 needs the entire sum: kc of at least " + std::to_string(k) + ", got " +
                                std::to_string(kc));
}

// Returns the split with its number of parts of the columns, which schedules of earlier versions lack.
inline ThreadSplit checked_split(ThreadSplit split, int threads) {
  if (split.n == 0) {
    if (split.m < 1 || threads % split.m != 0)
      throw std::invalid_argument("schedule: threads_m must divide threads (" + std::to_string(threads) + "), got " +
                                  std::to_string(split.m));
    return {split.m, threads / split.m};
  }
  if (split.m > threads / split.n)
    throw std::invalid_argument("schedule: threads must have a product of at most " + std::to_string(threads) +
                                ", got (" + std::to_string(split.m) + ", " + std::to_string(split.n) + ")");
  return split;
}

}  // namespace loopwright
