#include "recurrent/plan.h"

#include <algorithm>

#include "core/split.h"
#include "loopwright/machine.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// Cycles until another thread of the pool has started, and of a barrier.
constexpr double kStart = 6000, kBarrier = 600;
// Cycles of the activations of one vector of units, of one sequence.
constexpr double kActivations = 100;

// Bytes per cycle that a core loads from the cache that `bytes` fit in.
double bytes_per_cycle(double bytes) {
  const auto& caches = cache_bytes();
  return bytes < 0.75 * static_cast<double>(caches[0])  ? 100.0
         : bytes < 0.9 * static_cast<double>(caches[1]) ? 45.0
                                                        : 12.0;
}

// Returns the cycles of all steps of one thread that computes `rows` sequences and a share of the columns.
double cycles(const RecurrentSizes& s, Isa isa, int64_t rows, double share) {
  const double lanes = kernel_table(isa).lanes, columns = share * static_cast<double>(s.columns);
  const auto fmas = [&](int64_t k) { return static_cast<double>(rows * k) * columns / lanes / fmas_per_cycle(isa); };
  const double weights = columns * static_cast<double>(s.units) * sizeof(float);
  const double activations = kActivations * static_cast<double>(rows * s.units) / lanes * share;
  const double step = std::max(fmas(s.units), weights / bytes_per_cycle(weights)) + activations;
  return static_cast<double>(s.steps) * (fmas(s.inputs) + step);
}

}  // namespace

RecurrentPlan plan_recurrence(const RecurrentSizes& s, Isa isa, int threads) {
  const auto directions = static_cast<int>(s.directions);
  const int parts = threads / directions;
  const double alone = static_cast<double>(directions) * cycles(s, isa, s.batch, 1.0);
  if (threads == 1 || parts == 0) return {1, false};
  const double by_rows = kStart + cycles(s, isa, ceil_div(s.batch, parts), 1.0);
  const int64_t blocks = ceil_div(s.units, kernel_table(isa).lanes);
  double by_units =
      kStart + cycles(s, isa, s.batch, static_cast<double>(ceil_div(blocks, parts)) / static_cast<double>(blocks));
  if (parts > 1) by_units += kBarrier * static_cast<double>(s.steps * s.barriers);
  if (alone <= std::min(by_rows, by_units)) return {1, false};
  return {parts * directions, by_units < by_rows};
}

}  // namespace loopwright
