// A small cost model of register tiles, for the schedules that operators take without a search. It ranks; what it calls
// cycles is no prediction of time.
#pragma once

#include <algorithm>
#include <array>

#include "loopwright/machine.h"

namespace loopwright {

// What a step of a sum over k costs a tile, beside its FMAs or, where there are more of them, its loads. Loads run
// beside FMAs but get in their way at times, those of B more so where they come from far; and a tile costs some cycles
// to begin and end, spread over k, or some for each vector that it stores. Tiles that fill the registers are slower
// than those that leave some free. Fitted by eye to measurements on one core, alone and with a busy sibling: the first
// on Zen 4 with AVX-512, the second on Zen 3 with AVX2. Cycles are of a CPU that starts two FMAs and two loads in one.
struct TileCosts {
  double halved;  // how many times as long everything takes where it starts fewer
  double load_weight, far_loads;
  double tile_cycles, vector_cycles;
  int most_vectors;   // of a tile that leaves registers free
  double crowded;     // how much longer a step of the others takes
  double transforms;  // of Winograd's algorithms, as a factor of what 32 registers take: 16 do not hold a tile
};
inline TileCosts tile_costs(Isa isa) {
  const double halved = 2.0 / fmas_per_cycle(isa);
  const TileCosts avx512{halved, 0.1, 1.5, 2.0, 1.5, 24, 0.03, 1.0}, avx2{halved, 0.1, 3.0, 65.0, 0.0, 12, 0.0, 2.5};
  return isa == Isa::kAvx512 ? avx512 : avx2;
}

// Heights worth a look of tiles so many vectors wide: the most that there are, and the most that leave registers free.
inline std::array<int, 2> tile_heights(const TileCosts& costs, int vectors, int max_mr) {
  return {max_mr, std::clamp(costs.most_vectors / vectors, 1, max_mr)};
}

// Cycles of a tile of `rows` × `vectors` for a step of a sum over k.
inline double step_cycles(const TileCosts& costs, double rows, double vectors, double k) {
  const double crowded = rows * vectors > costs.most_vectors ? 1.0 + costs.crowded : 1.0;
  const double step = crowded * std::max(rows * vectors, rows + vectors) / 2 +
                      costs.load_weight * (rows + costs.far_loads * vectors) / 2;
  return costs.halved * (step + (costs.tile_cycles + costs.vector_cycles * rows * vectors) / k);
}

// Bytes a cycle that a core brings from L3, and that all cores together bring from memory (16 to 43 GB/s were seen,
// 5 to 10 bytes a cycle; Winograd at m = 4 must not be chosen for small images where it is less).
constexpr double kFarBytesPerCycle = 16.0, kMemoryBytesPerCycle = 6.0;

}  // namespace loopwright
