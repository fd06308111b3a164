// The measurements of which `python -m kernels.calibrate` makes a machine model. Each takes the least of several runs.
#pragma once

#include <cstdint>
#include <utility>

#include "loopwright/dtype.h"
#include "loopwright/isa.h"
#include "loopwright/machine_model.h"

namespace loopwright {

// Cycles per second of the core clock in 1e9, from a chain of integer products, which take three cycles each on x86-64
// CPUs since 2008 (Fog: Instruction tables).
double clock_ghz();

// Seconds of one register tile of `rows` rows and `halves` half vectors of columns for sums over k words, with B in the
// memory of `level`, and prefetched into L1 `prefetch_bytes` bytes ahead (0: not). `series`: the tiles of one call, which
// share B in L1 and have different panels elsewhere; 1 if they prefetch.
double tile_secs(Isa isa, Dtype dtype, int rows, int halves, int64_t k, Level level, int prefetch_bytes, int series);

// Seconds of Winograd's transforms of one tile of `vectors` vectors of channels, of the input and of the output; `which` as in
// KernelCosts::winograd.
std::pair<double, double> transform_secs(Isa isa, int which, int vectors);

// Seconds of Strassen's four sums of quarters, per vector.
double strassen_sum_secs(Isa isa);

// Seconds of a step of an LSTM per vector of units.
double cell_secs(Isa isa);

// Seconds of a parallel region with an empty body, and of a barrier, on `threads` threads that are awake.
double fork_join_secs(int threads);
double barrier_secs(int threads);

}  // namespace loopwright
