#include "recurrent/plan.h"

#include <algorithm>

#include "core/split.h"
#include "loopwright/machine.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// Cycles until another thread of the pool has started, and until threads have met. Measured on Zen 5 in a virtual machine.
constexpr double kStart = 6000, kMeeting = 900;
// Cycles of the activations of one vector of units, of one sequence.
constexpr double kActivations = 100;

// Bytes per cycle that a core loads from the cache that `bytes` fit in.
double bytes_per_cycle(double bytes) {
  const auto& caches = cache_bytes();
  const auto fits = [&](int level) { return bytes < 0.9 * static_cast<double>(caches[static_cast<size_t>(level)]); };
  return fits(0) ? 100.0 : fits(1) ? 45.0 : 24.0;
}

// Returns the cycles of all steps of one thread that computes `rows` sequences and a share of the columns.
double cycles(const RecurrentSizes& s, Isa isa, int64_t rows, double share) {
  const double lanes = kernel_table(isa).lanes, columns = share * static_cast<double>(s.columns);
  const auto product = [&](int64_t k, double tall) {
    const double bytes = columns * static_cast<double>(k) * sizeof(float);
    const double fmas = tall * static_cast<double>(k) * columns / lanes / fmas_per_cycle(isa);
    return std::max(fmas, bytes / bytes_per_cycle(bytes));
  };
  const double activations = kActivations * static_cast<double>(rows * s.units) / lanes * share;
  const auto steps = static_cast<double>(s.steps);
  return product(s.inputs, steps * static_cast<double>(rows)) +
         steps * (product(s.units, static_cast<double>(rows)) + activations);
}

}  // namespace

RecurrentPlan plan_recurrence(const RecurrentSizes& s, Isa isa, int threads) {
  const auto directions = static_cast<int>(s.directions);
  const int parts = threads / directions;
  if (threads == 1 || parts == 0) return {1, false};
  const double alone = static_cast<double>(directions) * cycles(s, isa, s.batch, 1.0);
  const double by_rows = kStart + cycles(s, isa, ceil_div(s.batch, parts), 1.0);
  const int64_t blocks = ceil_div(s.units, kernel_table(isa).lanes);
  const double share = static_cast<double>(ceil_div(blocks, parts)) / static_cast<double>(blocks);
  const double by_units = kStart + cycles(s, isa, s.batch, share) + kMeeting * static_cast<double>(s.steps * s.phases);
  if (alone <= std::min(by_rows, by_units)) return {1, false};
  return {parts * directions, by_units < by_rows};
}

}  // namespace loopwright
