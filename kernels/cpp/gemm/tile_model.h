// A small cost model of register tiles, for default schedules. It ranks candidates; its cycles do not predict times.
#pragma once

#include <algorithm>
#include <cstdint>

#include "loopwright/machine.h"
#include "microkernels/kernel_table.h"

namespace loopwright {

// The cost of one step of a sum over k for a tile, in addition to its FMAs or, if there are more of them, its loads. Loads
// run in parallel with FMAs but delay them at times, loads of B more so if they come from far away. A tile also takes some
// cycles to start and end, which are spread over k, or some for each vector that it stores. Tiles that fill the registers
// are slower than those that leave some free. Fitted by eye to measurements on one core, alone and with a busy sibling:
// AVX-512 on Zen 4, AVX2 on Zen 3. Cycles are those of a CPU that starts two FMAs and two loads per cycle.
struct TileCosts {
  double halved;  // factor on CPUs that start fewer
  double load_weight, far_loads;
  double tile_cycles, vector_cycles;
  int most_vectors;   // the largest tile that leaves registers free
  double crowded;     // additional share of time per step of larger tiles
  double transforms;  // factor of Winograd's transforms relative to 32 registers: 16 do not hold a tile
};
inline TileCosts tile_costs(Isa isa) {
  const double halved = 2.0 / fmas_per_cycle(isa);
  const TileCosts avx512{halved, 0.1, 1.5, 2.0, 1.5, 24, 0.03, 1.0}, avx2{halved, 0.1, 3.0, 65.0, 0.0, 12, 0.0, 2.5};
  return isa == Isa::kAvx512 ? avx512 : avx2;
}

// Calls f(vectors, rows, threads_m) for each register tile of `first` to `last` vectors and each split of the threads. The
// rows of a tile are the most that there are, or the most that leave registers free.
template <class F>
void for_each_tile_and_split(const KernelTable& kernels, const TileCosts& costs, int64_t first, int64_t last,
                             int threads, const F& f) {
  for (int vectors = static_cast<int>(first); vectors <= last; ++vectors) {
    const int max_mr = kernels.max_mr(vectors * kernels.lanes);
    if (max_mr == 0) continue;
    for (int threads_m = 1; threads_m <= threads; ++threads_m) {
      if (threads % threads_m != 0) continue;
      for (const int rows : {max_mr, std::clamp(costs.most_vectors / vectors, 1, max_mr)}) f(vectors, rows, threads_m);
    }
  }
}

// Returns the cycles of a tile of `rows` × `vectors` per step of a sum over k.
inline double step_cycles(const TileCosts& costs, double rows, double vectors, double k) {
  const double crowded = rows * vectors > costs.most_vectors ? 1.0 + costs.crowded : 1.0;
  const double step = crowded * std::max(rows * vectors, rows + vectors) / 2 +
                      costs.load_weight * (rows + costs.far_loads * vectors) / 2;
  return costs.halved * (step + (costs.tile_cycles + costs.vector_cycles * rows * vectors) / k);
}

// Bytes per cycle that one core loads from L3, and that all cores together load from memory. Measured from memory: 16 to
// 43 GB/s, 5 to 10 bytes per cycle. At the low end Winograd's algorithm with m = 4 must not be chosen for small images.
constexpr double kFarBytesPerCycle = 16.0, kMemoryBytesPerCycle = 6.0;

}  // namespace loopwright
