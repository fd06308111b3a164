#include "loopwright/machine_model.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "machine/cpu_features.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// Data that is read again shares its cache with what passes through.
constexpr double kRoom = 0.75;

// Two threads on one core take turns, each until the system switches to the other.
constexpr double kSwitchCycles = 10000;

static_assert(KernelCosts::kMaxRows >= KernelTable::kMaxRows && KernelCosts::kMaxHalves >= 2 * KernelTable::kMaxVectors,
              "a model has the costs of every register tile");

// Returns the cycles of `threads` threads. More threads than were measured take more in proportion.
double by_threads(const std::vector<double>& values, int threads) {
  if (threads <= 1) return 0;
  if (values.size() <= 1) return kSwitchCycles * (threads - 1);
  const auto known = std::min(values.size(), static_cast<size_t>(threads));
  return values[known - 1] * threads / static_cast<double>(known);
}

}  // namespace

const KernelCosts& MachineModel::costs(Isa isa, Dtype dtype) const {
  for (const KernelCosts& costs : kernels)
    if (costs.isa == isa && costs.dtype == dtype) return costs;
  throw std::invalid_argument("the machine model of " + cpu + " has no costs for " + name(isa) + " and " + name(dtype));
}

double MachineModel::bandwidth_per_thread(Level level, int threads) const {
  const std::vector<double>& known = bandwidth[static_cast<size_t>(level)];
  const auto used = static_cast<size_t>(std::max(threads, 1)), measured = std::min(known.size(), used);
  // Each core has an L1 and an L2. What all cores share is no faster for more of them.
  return known[measured - 1] / static_cast<double>(level <= Level::kL2 ? measured : used);
}

double MachineModel::fork_join_cycles(int threads) const { return by_threads(fork_join, threads); }

double MachineModel::barrier_cycles(int threads) const { return by_threads(barrier, threads); }

Level MachineModel::level_of(double bytes) const {
  for (const Level level : {Level::kL1, Level::kL2, Level::kL3})
    if (bytes <= kRoom * static_cast<double>(cache_bytes[static_cast<size_t>(level)])) return level;
  return Level::kMemory;
}

int64_t MachineModel::floats_worth_a_thread() const {
  constexpr int64_t kFloatsPerLine = 16;  // threads that share a cache line wait for each other
  if (fork_join.size() < 2) return std::numeric_limits<int64_t>::max();  // one core
  double bytes = 0;
  for (const Level level : {Level::kL2, Level::kL3, Level::kMemory}) {
    bytes = bandwidth_per_thread(level, 1) * fork_join_cycles(2);
    if (level_of(bytes) <= level) break;
  }
  return std::max(static_cast<int64_t>(bytes / sizeof(float)), kFloatsPerLine);
}

std::string cpu_key() {
  static const std::string key = cpu_family();
  return key;
}

}  // namespace loopwright
