// This machine: its name, caches, register tiles, and the two limits of its roofline.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "loopwright/dtype.h"
#include "loopwright/isa.h"

namespace loopwright {

std::string cpu_name();

// Bytes of the L1 data, L2 and L3 cache that one core can reach. A level that the system does not report is 0; L1 and L2
// default to 32 KiB and 256 KiB.
const std::array<int64_t, 3>& cache_bytes();

// Full-width FMAs that can start per cycle. Two, but one for 512-bit vectors on CPUs that execute them in two passes of
// 256 bits, such as Zen 4. For choosing schedules: CPUs with a single 512-bit unit do not report it.
int fmas_per_cycle(Isa isa);

// Returns every (mr, nr) that has a microkernel; empty for kReference. check_dtype() must accept the dtype.
std::vector<std::pair<int, int>> register_tiles(Isa isa, Dtype dtype);
// The same for tiles with fewer columns than a vector has lanes, which sum over the lanes.
std::vector<std::pair<int, int>> narrow_tiles(Isa isa, Dtype dtype);

// Floating-point operations per second in 1e9 (an FMA counts as two) of `threads` threads together. The best of several
// short runs.
double peak_gflops(Isa isa, Dtype dtype, int threads);

// Bytes per second in 1e9 that `threads` threads read together from `working_set` bytes, over and over. Each thread reads a
// part that it has written. The best of several runs of several loops. A working set larger than the caches measures
// memory, a smaller one the cache that it fits.
double memory_bandwidth(int threads, int64_t working_set);

// Leaves `bytes` bytes in the caches as a layer does that has written them: each of `threads` threads writes its even
// share. The content does not change.
void distribute(void* data, int64_t bytes, int threads);

// Evicts `bytes` bytes from every cache, on `threads` threads.
void evict(const void* data, int64_t bytes, int threads);

}  // namespace loopwright
