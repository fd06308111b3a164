// A small cost model of register tiles, for the schedules that operators take without a search. It ranks; what it calls
// cycles is no prediction of time.
#pragma once

namespace loopwright {

// Cycles of a tile of `rows` × `vectors` for a step of a sum over k, with two FMAs and two loads a cycle. Loads run
// beside FMAs but get in their way at times, more so those of B, which come from L2; and a tile costs some cycles to
// begin and end, spread over k. The weights were fitted by eye to measurements on one core, alone and with a busy
// sibling.
inline double step_cycles(double rows, double vectors, double k) {
  constexpr double kLoadWeight = 0.3, kFarLoads = 3.0, kTileCycles = 50.0;
  return rows * vectors / 2 + kLoadWeight * (rows + kFarLoads * vectors) / 2 + kTileCycles / k;
}

// Bytes a cycle that a core brings from L3, and that all cores together bring from memory.
constexpr double kFarBytesPerCycle = 16.0, kMemoryBytesPerCycle = 12.0;

}  // namespace loopwright
