// How a recurrence is divided among threads.
#pragma once

#include <cstdint>

#include "loopwright/machine_model.h"

namespace loopwright {

struct RecurrentSizes {
  int64_t steps, batch, directions;
  int64_t columns;  // gates × units of one direction
  int64_t inputs, units;
  int phases;  // of a step, after which threads that share a direction must meet
};

// threads is 1 or a multiple of the directions. The threads of one direction compute different units, and meet after each
// step, or different sequences, and never meet.
struct RecurrentPlan {
  int threads;
  bool by_units;
};

RecurrentPlan plan_recurrence(const RecurrentSizes& sizes, const Target& target, int threads);

}  // namespace loopwright
