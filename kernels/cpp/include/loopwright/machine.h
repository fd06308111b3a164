// The machine at hand: its name, its caches and the two roofs of its roofline.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "loopwright/dtype.h"
#include "loopwright/isa.h"

namespace loopwright {

std::string cpu_name();

// Bytes of the L1 data, L2 and L3 cache that one core can reach; a level that the system does not tell is 0, L1 and L2
// then take the usual 32 KiB and 256 KiB.
const std::array<int64_t, 3>& cache_bytes();

// FMAs on whole vectors that can start in a cycle. Two, but one where vectors of 512 bits take two passes through units of
// 256, as on Zen 4. For choosing schedules: CPUs with a single unit of 512 bits do not tell.
int fmas_per_cycle(Isa isa);

// Floating-point operations a second in 1e9 (an FMA is two), all `threads` together, best of several short runs.
double peak_gflops(Isa isa, Dtype dtype, int threads);

// Bytes read a second in 1e9 from `working_set` bytes that are read over and over, split over `threads`; best of
// several runs. A working set larger than the caches gives the memory's bandwidth, a smaller one that of the cache it
// fits.
double memory_bandwidth(int threads, int64_t working_set);

}  // namespace loopwright
