#pragma once

#include "../layer.h"
#include "loopwright/dense.h"

namespace loopwright {

// The default schedule of a product for any epilogue; `fast` allows Strassen's algorithm.
inline DenseSchedule dense_schedule(const Machine& machine, int64_t m, int64_t n, int64_t k, bool fast) {
  constexpr int kAny = 0;
  return default_dense_schedule(machine.isa, Dtype::kFloat32, m, n, k, machine.threads, kAny, fast);
}

}  // namespace loopwright
