#include "recurrent/plan.h"

#include <algorithm>
#include <cmath>

#include "core/split.h"
#include "microkernels/kernel_table.h"
#include "recurrent/gate_product.h"

namespace loopwright {
namespace {

// Returns the cycles of all steps of one thread that computes `rows` sequences and a share of the columns.
double cycles(const RecurrentSizes& s, const Target& target, int64_t rows, double share, int threads) {
  const MachineModel& machine = *target.model;
  const KernelCosts& costs = machine.costs(target.isa, Dtype::kFloat32);
  const KernelTable& kernels = kernel_table(target.isa);
  const double lanes = kernels.lanes, columns = share * static_cast<double>(s.columns);
  const auto product = [&](int64_t k, int64_t m) {
    const double bytes = columns * static_cast<double>(k) * sizeof(float);
    const Level level = machine.level_of(bytes);
    const int mr = static_cast<int>(std::min<int64_t>(m, kernels.max_mr(GateProduct::kVectors * kernels.lanes)));
    const double tiles = std::ceil(static_cast<double>(m) / mr) * columns / lanes / GateProduct::kVectors;
    const double fmas = tiles * costs.tile(mr, 2 * GateProduct::kVectors).cycles(static_cast<double>(k), level);
    return std::max(fmas, bytes / machine.bandwidth_per_thread(level, threads));
  };
  const double activations = costs.cell * static_cast<double>(rows * s.units) / lanes * share;
  const auto steps = static_cast<double>(s.steps);
  return product(s.inputs, s.steps * rows) + steps * (product(s.units, rows) + activations);
}

}  // namespace

RecurrentPlan plan_recurrence(const RecurrentSizes& s, const Target& target, int threads) {
  const auto directions = static_cast<int>(s.directions);
  const int parts = threads / directions;
  if (threads == 1 || parts == 0 || s.steps == 0 || target == Isa::kReference) return {1, false};
  const MachineModel& machine = *target.model;
  const double start = machine.fork_join_cycles(threads), meeting = machine.barrier_cycles(threads);
  const double alone = static_cast<double>(directions) * cycles(s, target, s.batch, 1.0, 1);
  const double by_rows = start + cycles(s, target, ceil_div(s.batch, parts), 1.0, threads);
  const int64_t blocks = ceil_div(s.units, kernel_table(target).lanes);
  const double share = static_cast<double>(ceil_div(blocks, parts)) / static_cast<double>(blocks);
  const double by_units =
      start + cycles(s, target, s.batch, share, threads) + meeting * static_cast<double>(s.steps * s.phases);
  if (alone <= std::min(by_rows, by_units)) return {1, false};
  return {parts * directions, by_units < by_rows};
}

}  // namespace loopwright
