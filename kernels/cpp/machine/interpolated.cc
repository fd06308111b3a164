// The machine model of a CPU that nobody has measured: from the sizes of its caches, its ports and its ISA. The constants
// are what CPUs with these instruction sets have in common.
#include <algorithm>

#include "gemm/tile_model.h"
#include "loopwright/machine.h"
#include "loopwright/machine_model.h"
#include "microkernels/kernel_table.h"

namespace loopwright {
namespace {

// A core loads two vectors per cycle from L1.
constexpr double kLoadsPerCycle = 2;
// Bytes per cycle of one core: from L2, from L3, and from memory, which a few cores together exhaust.
constexpr double kL2Bytes = 48, kL3Bytes = 16, kMemoryBytes = 8, kMemoryCores = 4;
// Cycles until another thread of the pool has started and finished, and until threads have met; per further thread.
constexpr double kFork = 1500, kForkEach = 500, kMeeting = 400, kMeetingEach = 100;
// A tile starts and ends in some cycles, and some more for each vector that it stores.
constexpr double kTileStart = 15, kVectorStart = 1.5;
// A call of a microkernel, with the preparation of its arguments.
constexpr double kCall = 30;
// Transforms of Winograd's algorithms take this many times the cycles of their loads and stores.
constexpr double kTransform = 2, kTransformStart = 20;
constexpr double kGhz = 3;

KernelCosts interpolated_costs(const MachineModel& model, Isa isa, Dtype dtype) {
  const KernelTable& kernels = kernel_table(isa, dtype);
  const double fmas = fmas_per_cycle(isa);
  const double vector_bytes = static_cast<double>(kernels.lanes) * sizeof(float);
  KernelCosts costs;
  costs.isa = isa;
  costs.dtype = dtype;
  costs.prefetch_bytes = isa == Isa::kAvx512 ? 4096 : 0;
  for (int rows = 1; rows <= KernelCosts::kMaxRows; ++rows)
    for (int halves = 1; halves <= KernelCosts::kMaxHalves; ++halves) {
      const int vectors = (halves + 1) / 2;
      if (!kernels.tiles[rows][vectors]) continue;
      // There are half tiles only where a whole vector takes two passes.
      const bool half = halves % 2 == 1 && kernels.half_tiles[rows][vectors];
      const double products = kernels.word_fmas * rows * (vectors - (half ? 0.5 : 0.0)) / fmas;
      const double near = overlapped(products, (rows + vectors) / kLoadsPerCycle);
      TileCost& tile = costs.tile(rows, halves);
      tile.start = kTileStart + kVectorStart * rows * vectors * 2 / fmas;
      tile.step[0] = near;
      for (size_t level = 1; level < kLevels; ++level)
        tile.step[level] = overlapped(near, vectors * vector_bytes / model.bandwidth[level][0]);
    }
  const double moves = 2 / fmas * kTransform;  // cycles of a load and a store, with the arithmetic between them
  const auto transforms = [&](int places, int outputs) {
    const double output = (places + outputs) / 2.0;
    return WinogradCosts{{kTransformStart, places * moves}, {kTransformStart, output * moves}};
  };
  costs.winograd = {transforms(16, 4), transforms(36, 9), transforms(36, 16)};
  costs.strassen_sum = 8 * 2 / fmas;
  costs.cell = 100;
  costs.call = kCall;
  return costs;
}

}  // namespace

MachineModel MachineModel::interpolated(int cores) {
  MachineModel model;
  model.cpu = cpu_key();
  model.cores = cores;
  model.ghz = kGhz;
  model.cache_bytes = loopwright::cache_bytes();
  const double vector_bytes = static_cast<double>(kernel_table(available_isas().front()).lanes) * sizeof(float);
  for (int n = 1; n <= cores; ++n) {
    model.bandwidth[0].push_back(n * kLoadsPerCycle * vector_bytes);
    model.bandwidth[1].push_back(n * kL2Bytes);
    model.bandwidth[2].push_back(n * kL3Bytes);
    model.bandwidth[3].push_back(std::min<double>(n, kMemoryCores) * kMemoryBytes);
    model.fork_join.push_back(n == 1 ? 0 : kFork + kForkEach * (n - 1));
    model.barrier.push_back(n == 1 ? 0 : kMeeting + kMeetingEach * (n - 1));
  }
  for (const Isa isa : available_isas())
    if (isa != Isa::kReference)
      for (const Dtype dtype : available_dtypes(isa)) model.kernels.push_back(interpolated_costs(model, isa, dtype));
  return model;
}

}  // namespace loopwright
